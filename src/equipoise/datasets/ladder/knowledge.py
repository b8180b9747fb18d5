"""Common knowledge: handwritten questions, each its own group."""

# A prompt stays on one line, to be read as a whole.
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Iterator

from equipoise.datasets.ladder.chance import Chance
from equipoise.datasets.ladder.draft import Draft, exact, number

# One fact a line: question | accepted answers. An answer of digits only is graded as a number.
LEVEL1 = """
What is the capital of France? | Paris
What colour is the sky on a clear day? | blue|light blue
Which animal says "meow"? | cat|cats
How many legs does a spider have? | 8
What do bees make? | honey
What is the largest planet in the solar system? | Jupiter
On which continent is Egypt? | Africa
How many days are there in a week? | 7
What is the name of the star at the centre of our solar system? | Sun
What is frozen water called? | ice
Which country has Tokyo as its capital? | Japan
What is the capital of Italy? | Rome
What gas do humans need to breathe? | oxygen|O2
Who wrote "Romeo and Juliet"? | Shakespeare|William Shakespeare
How many sides does a triangle have? | 3
What is the first month of the year? | January
What colour is grass usually? | green
Which planet do we live on? | Earth|planet Earth
What is the chemical formula of water? | H2O|H₂O
How many fingers are on one human hand? | 5
What is a baby dog called? | puppy|pup
"""
LEVEL2 = """
What is the capital of Germany? | Berlin
Which ocean lies between Europe and America? | Atlantic|Atlantic Ocean
Who painted the Mona Lisa? | Leonardo da Vinci|da Vinci|Leonardo
Which planet is known as the Red Planet? | Mars
At how many degrees Celsius does water boil at sea level? | 100
What is the largest ocean on Earth? | Pacific|Pacific Ocean
What is the chemical symbol of oxygen? | O
In which country are the pyramids of Giza? | Egypt
What is the tallest land animal? | giraffe|giraffes
Who was the first president of the United States? | George Washington|Washington
How many continents are there in the usual English count? | 7
What language is mainly spoken in Brazil? | Portuguese|Brazilian Portuguese
Which organ pumps blood through the body? | heart|human heart
What is the capital of Spain? | Madrid
What currency is used in Japan? | yen|Japanese yen|JPY
Which metal has the chemical symbol Fe? | iron
Through which city does the river Thames flow to the sea: London or Paris? | London
What is the opposite direction of north? | south
Which insect turns from a caterpillar into a winged adult with colourful wings? | butterfly|butterflies
What is the largest animal that has ever lived? | blue whale|blue whales|the blue whale (Balaenoptera musculus)
How many players of one team are on the field in soccer? | 11
"""
LEVEL3 = """
What is the capital of Canada? | Ottawa
What is the chemical symbol for gold? | Au
In which year did World War II end? | 1945
Who developed the theory of general relativity? | Albert Einstein|Einstein
What is the smallest prime number? | 2
Which gas do plants take in for photosynthesis? | carbon dioxide|CO2|CO₂
How many bones does an adult human normally have? | 206
What is the capital of Australia? | Canberra
Which country gave the Statue of Liberty to the United States? | France
What is the hardest natural substance? | diamond|diamonds
Who wrote the novel "1984"? | George Orwell|Orwell|Eric Arthur Blair
Which planet is closest to the Sun? | Mercury
Which language has the word "danke" for thank you? | German
How many strings does a standard violin have? | 4
What is the longest bone in the human body? | femur|thigh bone|thighbone|femur (thigh bone)|femur or thigh bone
Which Italian explorer reached the Americas in 1492? | Christopher Columbus|Columbus|Cristoforo Colombo
In which year did the first human walk on the Moon? | 1969
Which desert covers much of North Africa? | Sahara|Sahara Desert
What is the main gas in the air of the Earth? | nitrogen|N2|N₂|nitrogen (N2)
Which mountain is the highest above sea level? | Mount Everest|Everest|Mt Everest|Mt. Everest
What is the name of the process by which plants make food from light? | photosynthesis
"""
LEVEL4 = """
What is the capital of New Zealand? | Wellington
What is the atomic number of carbon? | 6
Who composed the opera "The Magic Flute"? | Mozart|Wolfgang Amadeus Mozart|W. A. Mozart
Which chemical element has the symbol K? | potassium
In which year did the Berlin Wall fall? | 1989
What is the capital of Turkey? | Ankara
Which blood cells carry oxygen? | red blood cells|red|erythrocytes|red blood cell|red blood cells (erythrocytes)|red cells
What is the square root of 144? | 12
Who wrote "Pride and Prejudice"? | Jane Austen|Austen
What is the capital of Brazil? | Brasilia|Brasília
Which planet has the moon Titan? | Saturn
In which city is the painting collection of the Prado? | Madrid
Who discovered penicillin? | Alexander Fleming|Fleming|Sir Alexander Fleming
Which organ produces insulin? | pancreas
What is the SI unit of electric resistance? | ohm|ohms|Ω|ohm (Ω)
Which ancient city was buried by Vesuvius in 79 AD, along with Herculaneum? | Pompeii
How many chromosomes does a normal human body cell have? | 46
Which strait separates Spain from Morocco? | Strait of Gibraltar|Gibraltar|Gibraltar Strait
Who was the first woman to win a Nobel Prize? | Marie Curie|Curie|Marie Sklodowska Curie|Marie Skłodowska Curie|Maria Skłodowska-Curie
What is the largest internal organ of the human body? | liver
Which metal is liquid at room temperature? | mercury
"""
LEVEL5 = """
What is the capital of Kazakhstan? | Astana|Nur-Sultan
What is the chemical symbol for tungsten? | W
In which year was the Magna Carta sealed? | 1215
Who wrote "One Hundred Years of Solitude"? | Gabriel García Márquez|Gabriel Garcia Marquez|García Márquez|Garcia Marquez|Márquez
What is the capital of Myanmar? | Naypyidaw|Nay Pyi Taw|Naypyitaw
Which treaty of 1648 ended the Thirty Years' War? | Peace of Westphalia|Westphalia|Treaty of Westphalia|Treaties of Westphalia
How many hearts does an octopus have? | 3
What is the capital of Burkina Faso? | Ouagadougou
Which element has the atomic number 50? | tin|Sn|tin (Sn)
Who was the second person to walk on the Moon? | Buzz Aldrin|Aldrin|Edwin Aldrin|Edwin Buzz Aldrin
Which river flows through Baghdad? | Tigris|Tigris River|River Tigris
In which year did Constantinople fall to the Ottomans? | 1453
Who proved Fermat's Last Theorem? | Andrew Wiles|Wiles|Sir Andrew Wiles
What is the smallest bone in the human body? | stapes|stirrup|stapes bone|stirrup bone|stapes (stirrup)
Which African country was never a French colony: Senegal, Mali, Ghana or Niger? | Ghana
What is the capital of Bhutan? | Thimphu
Who painted "The Garden of Earthly Delights"? | Hieronymus Bosch|Bosch
Which composer wrote the "Goldberg Variations"? | Bach|Johann Sebastian Bach|J. S. Bach|J.S. Bach
What is the most abundant metal in the Earth's crust? | aluminium|aluminum|Al|aluminum (Al)|aluminium (Al)
Which scale measures the hardness of minerals? | Mohs|Mohs scale|Mohs hardness scale|Mohs scale of hardness|Mohs scale of mineral hardness
What is the half-life of carbon-14 to the nearest ten years, in years? | 5730
"""


def drafts(rng: Chance) -> Iterator[Draft]:
    """All knowledge drafts; nothing here is drawn."""
    del rng
    for level, text in enumerate((LEVEL1, LEVEL2, LEVEL3, LEVEL4, LEVEL5), start=1):
        for spot, line in enumerate(text.strip().splitlines()):
            prompt, _, answers = line.partition(" | ")
            group = f"fact{level}-{spot}"
            if answers.isascii() and answers.isdecimal():
                yield number(level, group, prompt, answers)
            else:
                yield exact(level, group, prompt, *answers.split("|"))
