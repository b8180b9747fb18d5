"""Extraction tasks: a short text to one JSON object."""

# A prompt stays on one line, to be read as a whole.
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Iterator

from equipoise.datasets.ladder.chance import Chance
from equipoise.datasets.ladder.draft import Draft, draws, record

PEOPLE = ("Alice", "Boris", "Carla", "Dan", "Elif", "Frank", "Gina", "Hassan", "Iris", "Jack")
CITIES = ("Paris", "Oslo", "Lima", "Cairo", "Tokyo", "Dublin", "Madrid", "Vienna", "Quito", "Athens")
JOBS = ("nurse", "pilot", "teacher", "baker", "farmer", "dentist", "lawyer", "painter")
ITEMS = ("lamp", "chair", "kettle", "backpack", "mirror", "clock", "blanket", "hammer")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September")


def drafts(rng: Chance) -> Iterator[Draft]:
    """All extraction drafts."""
    for build in (_level1, _level2, _level3, _level4, _level5):
        yield from build(rng)


def _level1(r: Chance) -> Iterator[Draft]:
    for name in r.sample(PEOPLE, 5):
        yield record(1, "name", f'Fill in this JSON: {{"name": ...}} from "My name is {name}."', {"name": name})
    for city in r.sample(CITIES, 4):
        yield record(1, "city", f'Return JSON with the key "city": "I live in {city}."', {"city": city})
    for (age,) in draws(r, 4, range(20, 70)):
        yield record(1, "age", f'Give JSON {{"age": number}} for: "I am {age} years old."', {"age": age})
    for colour in ("red", "green", "white", "black"):
        yield record(1, "colour", f'Output JSON with key "color". Text: "The car is {colour}."', {"color": colour})
    for day in r.sample(DAYS, 4):
        yield record(1, "day", f'JSON with the key "day" please: "We meet on {day}."', {"day": day})


def _level2(r: Chance) -> Iterator[Draft]:
    for name, (age,) in zip(r.sample(PEOPLE, 5), draws(r, 5, range(20, 80)), strict=True):
        prompt = f'Extract "name" and "age" as JSON: "{name} is {age} years old."'
        yield record(2, "name-age", prompt, {"name": name, "age": age})
    for item, (price,) in zip(r.sample(ITEMS, 4), draws(r, 4, range(5, 90)), strict=True):
        prompt = f'Text: "This {item} costs {price} dollars." Give JSON with keys "item" and "price".'
        yield record(2, "item-price", prompt, {"item": item, "price": price})
    for name, city in zip(r.sample(PEOPLE, 4), r.sample(CITIES, 4), strict=True):
        prompt = f'"{name} comes from {city}." Write this as JSON with "person" and "city".'
        yield record(2, "person-city", prompt, {"person": name, "city": city})
    for name, job in zip(r.sample(PEOPLE, 4), r.sample(JOBS, 4), strict=True):
        prompt = f'Make JSON with keys "name" and "job" from: "{name} works as a {job}."'
        yield record(2, "job", prompt, {"name": name, "job": job})
    for name in r.sample(PEOPLE, 4):
        mail = f"{name.lower()}@example.com"
        yield record(2, "mail", f'Give JSON {{"email": ...}}: "Write to {name} at {mail} today."', {"email": mail})


def _level3(r: Chance) -> Iterator[Draft]:
    for a, b in zip(r.sample(PEOPLE, 5), r.sample(CITIES, 5), strict=True):
        weekday = r.choice(DAYS)
        prompt = f'JSON with "who", "where", "when": "On {weekday}, {a} will fly to {b}."'
        yield record(3, "trip", prompt, {"who": a, "where": b, "when": weekday})
    for _ in range(4):
        names = r.sample(PEOPLE, 3)
        prompt = f'List the people as JSON {{"people": [...]}}: "{names[0]} met {names[1]} and {names[2]} at lunch."'
        yield record(3, "people", prompt, {"people": names})
    for item, (count, price) in zip(r.sample(ITEMS, 4), draws(r, 4, range(2, 12), range(5, 40)), strict=True):
        prompt = f'Keys "item" (singular), "quantity", "unit_price" as JSON: "{count} {item}s at {price} dollars each."'
        yield record(3, "order", prompt, {"item": item, "quantity": count, "unit_price": price})
    for month, (day, year) in zip(r.sample(MONTHS, 4), draws(r, 4, range(1, 28), range(1950, 2020)), strict=True):
        prompt = f'Turn "{month} {day}, {year}" into JSON with "year", "month" (name) and "day".'
        yield record(3, "date", prompt, {"year": year, "month": month, "day": day})
    for place, name in zip(range(7, 11), r.sample(PEOPLE, 4), strict=True):
        prompt = f'Extract JSON {{"guest": ..., "table": number}}: "Table {place} is booked for Dr {name} Stone." (full name, no title)'
        yield record(3, "table", prompt, {"guest": f"{name} Stone", "table": place})


def _level4(r: Chance) -> Iterator[Draft]:
    for name, (m, n) in zip(r.sample(PEOPLE, 5), draws(r, 5, range(2, 9), range(2, 9)), strict=True):
        prompt = f'JSON with "name" and "total": "{name} ate {m} plums in the morning and {n} at night."'
        yield record(4, "total", prompt, {"name": name, "total": m + n})
    for month, (day, year) in zip(r.sample(MONTHS, 4), draws(r, 4, range(10, 28), range(1960, 2020)), strict=True):
        iso = f"{year}-{MONTHS.index(month) + 1:02d}-{day}"
        yield record(4, "iso", f'Give JSON {{"date": "YYYY-MM-DD"}} for "{day} {month} {year}".', {"date": iso})
    for a, b in zip(r.sample(PEOPLE, 4), r.sample(JOBS, 4), strict=True):
        prompt = f'JSON keys "name", "job", "employed" (true/false): "{a} lost the job as a {b} last week."'
        yield record(4, "employed", prompt, {"name": a, "job": b, "employed": False})
    for _ in range(4):
        a, b, c = r.sample(PEOPLE, 3)
        x, y, z = r.sample(range(20, 70), 3)
        prompt = f'Map each name to the age in JSON: "{a} is {x}, {b} is {y} and {c} is {z}."'
        yield record(4, "ages", prompt, {a: x, b: y, c: z})
    for a, b in zip(r.sample(CITIES, 4), r.sample(CITIES, 4), strict=True):
        a, b = (a, b) if a != b else ("Rome", b)
        prompt = f'JSON with "from" and "to": "Arriving in {a} at noon, the train had left {b} at dawn."'
        yield record(4, "train", prompt, {"from": b, "to": a})


def _level5(r: Chance) -> Iterator[Draft]:
    for item, (count, price) in zip(r.sample(ITEMS, 4), draws(r, 4, range(3, 9), range(6, 30)), strict=True):
        prompt = f'JSON with "item" (singular), "count", "total_price": "{count} {item}s at ${price} each, with $5 off the total."'
        yield record(5, "total-price", prompt, {"item": item, "count": count, "total_price": count * price - 5})
    for _ in range(4):
        a, b, c = r.sample(PEOPLE, 3)
        x = r.randrange(20, 60)
        y, z = r.randrange(2, 9), r.randrange(2, 9)
        text = f"{a} is {x}. {b} is {y} years older than {a}, {c} is {z} years younger than {b}."
        yield record(
            5,
            "derived-ages",
            f'Give the age of everyone as JSON, name to age: "{text}"',
            {a: x, b: x + y, c: x + y - z},
        )
    for h, m in draws(r, 3, range(1, 9), (15, 30, 45)):
        text = f"The film starts at {h}:{m} pm and runs for two hours."
        value = {"start": f"{h + 12}:{m}", "end": f"{h + 14}:{m}"}
        yield record(5, "film", f'JSON with "start" and "end" in 24-hour HH:MM: "{text}"', value)
    for _ in range(4):
        a, b, c = r.sample(PEOPLE, 3)
        text = f"{a} beat {b}, and {b} finished ahead of {c}."
        yield record(
            5,
            "ranking",
            f'JSON with "ranking" (list, best first) and "last": "{text}"',
            {"ranking": [a, b, c], "last": c},
        )
    yield from _nested(r)


def _nested(r: Chance) -> Iterator[Draft]:
    for _ in range(3):
        a, b = r.sample(PEOPLE, 2)
        one, two = r.sample(CITIES, 2)
        text = f"{a} of {one} and {b} of {two} are twins."
        people = [{"name": a, "city": one}, {"name": b, "city": two}]
        yield record(
            5,
            "nested",
            f'JSON {{"people": [...]}}, each with "name" and "city": "{text}"',
            {"people": people},
        )
    for _ in range(3):
        a, b = r.sample(ITEMS, 2)
        x, y = r.sample(range(10, 90), 2)
        text = f"We sold the {a} for ${x}; the {b}, priced at ${y}, nobody wanted."
        yield record(
            5,
            "sold",
            f'JSON with "sold" and "unsold", each an item name to price map: "{text}"',
            {"sold": {a: x}, "unsold": {b: y}},
        )
