"""Unit conversions, clock times, weekdays and calendar dates."""

# A prompt stays on one line, to be read as a whole.
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from equipoise.datasets.ladder.chance import Chance
from equipoise.datasets.ladder.draft import Draft, draws, exact, number

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def drafts(rng: Chance) -> Iterator[Draft]:
    """All unit and date drafts."""
    for build in (_level1, _level2, _level3, _level4, _level5):
        yield from build(rng)


def _clock(minutes: int) -> tuple[str, ...]:
    """The ways in which a time of day may be written."""
    minutes %= 24 * 60
    h, m = divmod(minutes, 60)
    half = f"{(h - 1) % 12 + 1}:{m:02d}"
    mark = "am" if h < 12 else "pm"
    return (f"{h}:{m:02d}", f"{h:02d}:{m:02d}", f"{half} {mark}", f"{half}{mark}", f"0{half} {mark}")


def _day(value: date) -> tuple[str, ...]:
    """The ways in which a day of the year may be written."""
    month, day = MONTHS[value.month - 1], value.day
    ending = "th" if 10 < day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    plain = (
        f"{month} {day}",
        f"{day} {month}",
        f"{month} {day}{ending}",
        f"{day}{ending} {month}",
        f"{day}{ending} of {month}",
    )
    dated = tuple(f"{text} {value.year}" for text in plain)
    return (*plain, *dated, value.isoformat(), f"{value.month:02d}-{day:02d}")


def _level1(r: Chance) -> Iterator[Draft]:
    for spot in r.sample(range(6), 5):
        yield exact(1, "day-after", f"Which day comes after {DAYS[spot]}?", DAYS[spot + 1])
    for spot in r.sample(range(11), 4):
        yield exact(1, "month-after", f"What month follows {MONTHS[spot]}?", MONTHS[spot + 1])
    for unit, many, of in (
        ("hour", 60, "minutes"),
        ("day", 24, "hours"),
        ("week", 7, "days"),
        ("year", 12, "months"),
    ):
        yield number(1, "in-a", f"How many {of} are in one {unit}?", many)
    for one, many, unit in (("metre", 100, "centimetres"), ("kilometre", 1000, "metres"), ("kilogram", 1000, "grams"),
                            ("minute", 60, "seconds")):  # fmt: skip
        yield number(1, "unit", f"1 {one} = how many {unit}?", many)
    for h, k in draws(r, 4, range(1, 7), range(1, 5)):
        yield exact(1, "hours-later", f"It is {h} o'clock. What time is it {k} hour{'s' * (k > 1)} later?",
                    f"{h + k} o'clock", f"{h + k}", *_clock(60 * (h + k)), f"{h + k}:00 pm", f"{h + k} pm", f"{h + k} am")  # fmt: skip


def _level2(r: Chance) -> Iterator[Draft]:
    for (a,) in draws(r, 5, range(2, 20)):
        yield number(2, "m-cm", f"Convert {a} metres to centimetres.", 100 * a)
    for (a,) in draws(r, 4, range(2, 8)):
        yield number(2, "weeks", f"How many days are {a} weeks?", 7 * a)
    for spot, k in draws(r, 4, range(7), (2, 3, 4)):
        yield exact(2, "days-on", f"If today is {DAYS[spot]}, what day is it in {k} days?", DAYS[(spot + k) % 7])
    for spot in r.sample(range(12), 4):
        many = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[spot]
        yield number(2, "month-days", f"How many days does {MONTHS[spot]} have in a normal year?", many)
    for (a,) in draws(r, 4, range(2, 9)):
        yield number(2, "h-min", f"{a} hours is how many minutes?", 60 * a)


def _level3(r: Chance) -> Iterator[Draft]:
    for a, b in draws(r, 5, range(1, 6), (10, 20, 30, 40, 50)):
        yield number(3, "h-m", f"How many minutes are {a} hours and {b} minutes?", 60 * a + b)
    for a, b in draws(r, 4, range(1, 9), range(1, 10)):
        yield number(3, "kg-g", f"Convert {a}.{b} kg to grams.", 1000 * a + 100 * b)
    for h, m, k in draws(r, 4, range(13, 20), (5, 10, 15), (20, 25, 35)):
        yield exact(
            3,
            "add-minutes",
            f"A meeting starts at {h}:{m:02d} and lasts {k} minutes. When does it end?",
            *_clock(60 * h + m + k),
        )
    for spot, k in draws(r, 4, range(7), range(8, 14)):
        yield exact(
            3,
            "over-week",
            f"Today is {DAYS[spot]}. Which weekday will it be {k} days from now?",
            DAYS[(spot + k) % 7],
        )
    for a, b in draws(r, 4, range(1930, 1990), range(12, 60)):
        yield number(3, "year-born", f"Someone born in {a} turned {b} in which year?", a + b)


def _level4(r: Chance) -> Iterator[Draft]:
    for h, m, k in draws(r, 5, range(7, 20), (35, 40, 45, 50), (45, 75, 95, 110)):
        end = 60 * h + m + k
        yield exact(
            4,
            "arrival",
            f"A bus leaves at {h}:{m} and needs {k} minutes. At what time does it arrive?",
            *_clock(end),
        )
    for month, day, k in draws(r, 4, (1, 3, 4, 6, 9, 10), range(20, 29), range(12, 22)):
        then = date(2023, month, day) + timedelta(days=k)
        yield exact(4, "date-plus", f"What date is {k} days after {MONTHS[month - 1]} {day}?", *_day(then)[:5])
    for (k,) in draws(r, 4, (5, 10, 15, 20, 25, 30, 35)):
        yield number(4, "fahrenheit", f"Convert {k} degrees Celsius to Fahrenheit.", k * 9 // 5 + 32)
    for (k,) in draws(r, 4, (36, 54, 72, 90, 108, 126)):
        yield number(4, "speed", f"Convert {k} km/h to metres per second.", k * 10 // 36)
    for a, b in draws(r, 4, range(2, 9), range(1, 60)):
        yield number(4, "seconds", f"How many seconds are {a} minutes and {b} seconds?", 60 * a + b)


def _level5(r: Chance) -> Iterator[Draft]:
    for year, month, day in draws(r, 4, (2023, 2024), (2, 3, 5, 8), range(3, 27)):
        then = date(year, month, day)
        first = date(year, month, 1)
        text = (
            f"{MONTHS[month - 1]} 1, {year} was a {DAYS[first.weekday()]}. What weekday was {MONTHS[month - 1]} {day}?"
        )
        yield exact(5, "weekday", text, DAYS[then.weekday()])
    for month, k in draws(r, 3, (1, 3, 5, 7), range(40, 75)):
        then = date(2023, month, 15) + timedelta(days=k)
        yield exact(5, "date-far", f"Which date is {k} days after {MONTHS[month - 1]} 15, 2023?", *_day(then))
    for a, b in draws(r, 3, (2, 3, 4, 6), (9, 13, 17, 21)):
        start, end = date(2023, a, b), date(2023, a + 3, 5)
        text = f"How many days are there from {MONTHS[a - 1]} {b} to {MONTHS[a + 2]} 5, 2023?"
        yield number(5, "days-between", text, (end - start).days)
    for h, m, k in draws(r, 3, (20, 21, 22, 23), (10, 25, 40), (5, 6, 7, 8)):
        text = f"A flight leaves London at {h}:{m} and takes {k} hours. Local time there is 3 hours ahead. Local arrival time?"
        yield exact(5, "flight", text, *_clock(60 * (h + k + 3) + m))
    for a, b in draws(r, 3, range(2, 8), range(2, 8)):
        yield number(
            5,
            "area",
            f"A floor is {a}.5 m by {b} m. What is its area in square centimetres?",
            (2 * a + 1) * b * 5000,
        )
    for w, d in draws(r, 3, range(2, 6), range(1, 7)):
        hours = 168 * w + 24 * d
        yield number(5, "hours", f"How many hours are {w} weeks and {d} day{'s' * (d > 1)}?", hours)
    for year, leap in ((1900, "no"), (2000, "yes"), (2100, "no")):
        yield exact(5, "leap", f"Is the year {year} a leap year in the Gregorian calendar, yes or no?", leap)
