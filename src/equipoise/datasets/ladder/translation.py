"""Translation of words and short sentences; handwritten, each its own group."""

# A prompt stays on one line, to be read as a whole.
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Iterator

from equipoise.datasets.ladder.chance import Chance
from equipoise.datasets.ladder.draft import Draft, exact

LANGUAGES = {"fr": "French", "es": "Spanish", "de": "German"}
WORD_PROMPTS = (
    'What is the {language} word for "{text}"?', 'Translate "{text}" to {language}.',
    'How do you say "{text}" in {language}?', '{language} for "{text}":', 'Give the {language} translation of "{text}".',
)  # fmt: skip
SENTENCE_PROMPTS = (
    'Translate into {language}: "{text}"', 'Write in {language}: {text}', 'How would you say "{text}" in {language}?',
)  # fmt: skip
# A noun may be given with its article, without it, or with the indefinite one.
ARTICLES: dict[str, dict[str, tuple[str, ...]]] = {
    "fr": {"le ": ("un ",), "la ": ("une ",), "l'": ("un ", "une ")},
    "es": {"el ": ("un ",), "la ": ("una ",)},
    "de": {"der ": ("ein ",), "die ": ("eine ",), "das ": ("ein ",)},
}

LEVEL1 = """
fr | hello | bonjour|salut
es | hello | hola
de | hello | hallo|guten tag
fr | thank you | merci
es | thank you | gracias|muchas gracias
de | thank you | danke|danke schön|vielen dank
fr | yes | oui
es | yes | sí|si
de | yes | ja
fr | cat | le chat|la chatte
es | cat | el gato|la gata
de | cat | die katze
fr | house | la maison
es | house | la casa
de | house | das haus
fr | one | un|une
es | two | dos
de | three | drei
fr | red | rouge
es | water | el agua
de | no | nein
"""
LEVEL2 = """
fr | water | l'eau
de | water | das wasser
fr | dog | le chien
es | dog | el perro
de | dog | der hund
fr | book | le livre
es | book | el libro
de | book | das buch
fr | good night | bonne nuit
es | good morning | buenos días|buen día
de | good evening | guten abend
fr | school | l'école
es | friend | el amigo|la amiga
de | friend | der freund|die freundin
fr | blue | bleu|bleue
es | green | verde
de | black | schwarz
es | bread | el pan
fr | milk | le lait
de | apple | der apfel
es | day | el día|dia
"""
LEVEL3 = """
fr | I love you. | je t'aime|je vous aime
es | My name is Ana. | me llamo Ana|mi nombre es Ana|yo me llamo Ana
de | I am tired. | ich bin müde
fr | bridge | le pont
es | window | la ventana
de | butterfly | der schmetterling
fr | strawberry | la fraise
es | yesterday | ayer
de | tomorrow | morgen
fr | The cat is black. | le chat est noir|la chatte est noire
es | The house is big. | la casa es grande
de | The dog is small. | der hund ist klein
fr | Where is the station? | où est la gare ?|où se trouve la gare ?|où est la station ?
es | I have two brothers. | tengo dos hermanos|yo tengo dos hermanos
de | spoon | der löffel
fr | to run | courir
es | to drink | beber|tomar
de | to sleep | schlafen
fr | winter | l'hiver
es | spring (the season) | la primavera|primavera
de | autumn | der herbst
"""
LEVEL4 = """
fr | We are going to the beach. | nous allons à la plage|on va à la plage
es | She is reading a book. | ella está leyendo un libro|está leyendo un libro|ella lee un libro|lee un libro
de | He drinks a glass of milk. | er trinkt ein glas milch
fr | I have never seen snow. | je n'ai jamais vu de neige|je n'ai jamais vu la neige|je n'ai jamais vu de la neige
es | We want to eat now. | queremos comer ahora|nosotros queremos comer ahora|ahora queremos comer|nosotras queremos comer ahora
de | We live in a small house. | wir wohnen in einem kleinen haus|wir leben in einem kleinen haus
fr | ladybug | la coccinelle
es | lighthouse | el faro
de | squirrel | das eichhörnchen
fr | scissors | les ciseaux|ciseaux|des ciseaux|une paire de ciseaux
es | screwdriver | el destornillador|el desarmador
de | lightning (in the sky) | der blitz|blitz|blitze
fr | ninety-seven | quatre-vingt-dix-sept|nonante-sept
es | fifteen | quince
de | seventy-six | sechsundsiebzig
fr | the day after tomorrow | après-demain|le surlendemain
es | the day before yesterday | anteayer|antes de ayer|antier
de | the day after tomorrow | übermorgen
fr | How much does it cost? | combien ça coûte ?|combien cela coûte-t-il ?|ça coûte combien ?|combien coûte-t-il ?|c'est combien ?|combien est-ce que ça coûte ?|combien cela coûte ?|quel est le prix ?
es | It is raining. | llueve|está lloviendo
de | I don't understand. | ich verstehe nicht|ich verstehe es nicht|ich verstehe das nicht
"""
LEVEL5 = """
fr | If I had time, I would travel. | si j'avais le temps, je voyagerais|si j'avais du temps, je voyagerais
es | I hope you are well. (to one friend) | espero que estés bien|espero que tú estés bien
de | I have lost my keys. | ich habe meine schlüssel verloren
fr | hedgehog | le hérisson
es | eyelash | la pestaña
de | turtle | die schildkröte
fr | You must be there on time. (to a friend) | tu dois être là à l'heure|tu dois y être à l'heure|il faut que tu sois là à l'heure|il faut que tu y sois à l'heure
es | If I were rich, I would buy a boat. | si fuera rico, compraría un barco|si yo fuera rico, compraría un barco|si fuera rica, compraría un barco|si fuese rico, compraría un barco|si yo fuera rica, compraría un barco|si fuera rico compraría un bote|si yo fuera rico compraría un bote|si fuera rico compraría una barca|si yo fuese rico, compraría un barco
de | The house was built in 1900. | das haus wurde 1900 gebaut|das haus wurde im jahr 1900 gebaut|das haus wurde im jahre 1900 gebaut|das haus wurde 1900 erbaut|das haus wurde im jahr 1900 erbaut|das haus ist 1900 gebaut worden
fr | rhubarb | la rhubarbe
es | dragonfly | la libélula
de | grasshopper | der grashüpfer|die heuschrecke
fr | stubborn | têtu|têtue|obstiné|entêté|obstinée
es | It has been a long day. | ha sido un día largo|ha sido un largo día|fue un día largo
de | Although it was raining, we went out. | obwohl es regnete, gingen wir aus|obwohl es regnete, gingen wir raus|obwohl es regnete, gingen wir hinaus|obwohl es regnete, sind wir rausgegangen|obwohl es regnete, sind wir ausgegangen|obwohl es geregnet hat, sind wir rausgegangen|obwohl es geregnet hat, sind wir ausgegangen|obwohl es regnete, gingen wir nach draußen|obwohl es regnete, sind wir hinausgegangen
fr | wheelbarrow | la brouette
es | anvil | el yunque
de | thimble | der fingerhut
fr | She told me that she was ill. | elle m'a dit qu'elle était malade|elle me dit qu'elle était malade
es | Don't tell him anything. (to a friend) | no le digas nada|no le digas nada a él
de | the (female) scientist | die wissenschaftlerin|die forscherin
"""


def drafts(rng: Chance) -> Iterator[Draft]:
    """All translation drafts; nothing here is drawn."""
    del rng
    for level, text in enumerate((LEVEL1, LEVEL2, LEVEL3, LEVEL4, LEVEL5), start=1):
        for spot, line in enumerate(text.strip().splitlines()):
            code, source, answers = line.split(" | ")
            shapes = SENTENCE_PROMPTS if "." in source or "?" in source else WORD_PROMPTS
            prompt = shapes[spot % len(shapes)].format(language=LANGUAGES[code], text=source)
            yield exact(level, f"translate{level}-{spot}", prompt, *_accepted(code, answers.split("|")))


def _accepted(code: str, answers: list[str]) -> list[str]:
    accepted = list(answers)
    for answer in answers:
        for article, others in ARTICLES[code].items():
            noun = answer.removeprefix(article)
            if noun != answer and " " not in noun:
                accepted += [noun, *(other + noun for other in others)]
    return list(dict.fromkeys(accepted))
