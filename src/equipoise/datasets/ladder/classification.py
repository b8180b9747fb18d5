"""Classification: sentiment, topic, spam, language, word class, intent, stance; handwritten."""

from __future__ import annotations

from collections.abc import Iterator

from equipoise.datasets.ladder.chance import Chance
from equipoise.datasets.ladder.draft import Draft, exact

# One task a block: a line with the question, then `text | label` lines.
LEVEL1 = """
# Is this positive or negative? "{}"
I love this movie! | positive
This is terrible. | negative
What a wonderful day! | positive
I hate this food. | negative
# Is a {} an animal or a plant?
horse | animal
rose | plant
rabbit | animal
oak tree | plant
# Is this English or French? "{}"
Where is my coat? | English
Je suis fatigué. | French
The book is on the table. | English
Merci beaucoup, madame. | French
# Fruit or vehicle: {}?
truck | vehicle
strawberry | fruit
bicycle | vehicle
melon | fruit
# Question or statement? "{}"
Where do you live? | question
I live in a small town. | statement
Is it raining? | question
The shop is closed. | statement
How old is your dog? | question
"""
LEVEL2 = """
# Classify as spam or ham (not spam): "{}"
WIN a FREE iPhone now! Click here!!! | spam
Are we still meeting for lunch tomorrow? | ham|not spam|ham (not spam)
Congratulations, you won $1,000,000. Send your bank details. | spam
Please find the minutes of the meeting attached. | ham|not spam|ham (not spam)
# Topic: sports, politics or cooking? "{}"
The striker scored twice in the final. | sports|sport
Fry the onions until golden. | cooking
Parliament voted on the new tax law. | politics
The goalkeeper saved a penalty. | sports|sport
# Which language is this: Spanish, German or Italian? "{}"
Ich habe keinen Hunger. | German
¿Dónde está la biblioteca? | Spanish
Buongiorno, come stai? | Italian
Das Wetter ist heute schön. | German
# Mood of this review, positive or negative? "{}"
The staff were friendly and the room was spotless. | positive
It broke after two days and nobody answered my mails. | negative
Great sound, but above all a battery that lasts forever. | positive
Cold soup, rude waiter, dirty glasses. | negative
# Is this word a noun, a verb or an adjective: "{}"?
happiness | noun
beautiful | adjective
swim | verb
table | noun
heavy | adjective
"""
LEVEL3 = """
# Intent: booking, cancellation or complaint? "{}"
I would like a table for four on Friday. | booking
Sorry, we can't make it tonight, please drop our reservation. | cancellation
My soup was cold and nobody cared. | complaint
Could you keep a double room for us in May? | booking
# Name the emotion (joy, anger, fear, sadness): "{}"
I can't stop smiling since I heard the news! | joy
How dare you read my letters! | anger
There is someone behind the door and my hands are shaking. | fear
The house feels so empty since she died. | sadness
# Word class: is "{}" an adverb, adjective, preposition or pronoun?
under | preposition
they | pronoun
softly | adverb
lazy | adjective
# Tense of the sentence: past, present or future? "{}"
She will call you later. | future|future tense
We walked along the river. | past|past tense|simple past
He plays chess on Sundays. | present|present tense|simple present
They had already left. | past|past tense|past perfect
# Classify the animal as mammal, bird, reptile, fish or amphibian: {}
dolphin | mammal
frog | amphibian
penguin | bird
crocodile | reptile
bat | mammal
"""
LEVEL4 = """
# Sentiment: positive, negative or mixed? "{}"
Lovely view, awful breakfast. | mixed
I expected to be bored and could not stop laughing. | positive
Not once in three nights did the heating work. | negative
The plot drags, yet the acting is superb. | mixed
# Is this sentence in active or passive voice? "{}"
The window was broken by the storm. | passive|passive voice
Nobody has seen the thief. | active|active voice
Our flight had been cancelled. | passive|passive voice
The committee is reviewing the plan. | active|active voice
# Which language: Dutch, Danish, Polish or Portuguese? "{}"
Ik weet het niet. | Dutch
Jeg kan godt lide kaffe. | Danish
Nie mam czasu. | Polish
Não sei onde ela mora. | Portuguese
# Is this fact, opinion or prediction? "{}"
Water freezes at 0 degrees Celsius. | fact
By 2090 nobody will drive a car. | prediction
Jazz is the finest kind of music. | opinion
Mozart was born in Salzburg. | fact
# Urgency of this support ticket: high, medium or low? "{}"
All our servers are down and customers cannot pay! | high
Just wondering if a dark theme is planned some day. | low
Production database deleted, no backup, please help now. | high
Typo in the footer, fix whenever you like. | low
The payment page leaks credit card numbers right now! | high
"""
LEVEL5 = """
# Sincere or sarcastic? "{}"
Oh great, another Monday morning meeting. Just what I needed. | sarcastic
Thank you for staying late to help me, it meant a lot. | sincere
Sure, because waiting four hours is everyone's dream. | sarcastic
The nurse was kind and explained every step. | sincere
# Does the second entail, contradict, or stay neutral to the first? "{}"
A man is sleeping. / A man is awake. | contradict|contradiction|contradicts
All dogs bark. / My dog Rex barks. | entail|entailment|entails
A girl eats an apple. / She is hungry. | neutral|stay neutral|stays neutral
Nobody came. / Three guests came. | contradict|contradiction|contradicts
# Figure of speech: simile, metaphor, hyperbole or personification? "{}"
Her voice was like warm honey. | simile
I have told you a million times. | hyperbole
The wind whispered through the trees. | personification
Time is a thief. | metaphor
# Which grammatical role has "the letter" (subject, object or other)? "{}"
The letter arrived late. | subject
Tom burned the letter. | object|direct object
She wrote her name on the letter. | other
The letter was read by Eva. | subject
# Logical fallacy: ad hominem, straw man, slippery slope or false dilemma? "{}"
You are with us or against us. | false dilemma
Don't trust her budget plan, she is divorced. | ad hominem
If we allow one day off, soon nobody will work at all. | slippery slope
Either we cut all taxes or the country collapses. | false dilemma
You want fewer cars, so you want everyone locked in at home. | straw man|strawman
"""


def drafts(rng: Chance) -> Iterator[Draft]:
    """All classification drafts; nothing here is drawn."""
    del rng
    for level, text in enumerate((LEVEL1, LEVEL2, LEVEL3, LEVEL4, LEVEL5), start=1):
        question, task = "", 0
        for line in text.strip().splitlines():
            if line.startswith("# "):
                question, task = line.removeprefix("# "), task + 1
                continue
            body, _, labels = line.rpartition(" | ")
            yield exact(level, f"label{level}-{task}", question.format(body), *labels.split("|"))
