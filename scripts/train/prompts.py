# The fixed strings of the tasks the reference pair is trained on, byte for byte as sala's tasks print them.
# SPDX-License-Identifier: Apache-2.0
"""RULER strings follow NVIDIA/RULER (Apache-2.0, commit c3f5e3b4f87f97e048793bb510a3a6b19a46bf3a)."""

NIAH = (
    "Some special magic {type} are hidden within the following text. Make sure to memorize it."
    " I will quiz you about the {type} afterwards.\n{context}\n"
    "What are all the special magic {type} for {query} mentioned in the provided text?",
    " The special magic {type} for {query} mentioned in the provided text are",
)
NIAH_ONE = (
    "A special magic {type} is hidden within the following text. Make sure to memorize it."
    " I will quiz you about the {type} afterwards.\n{context}\n"
    "What is the special magic {type} for {query} mentioned in the provided text?",
    " The special magic {type} for {query} mentioned in the provided text is",
)
NEEDLE = "One of the special magic {type} for {key} is: {value}."
NOISE = (
    "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
)

VT = (
    "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n"
    "{context}\nQuestion: Find all variables that are assigned the value {query} in the text above.",
    " Answer: According to the chain(s) of variable assignment in the text above, {num} variables"
    " are assigned the value {query}, they are: ",
)
VT_FIRST = "VAR {name} = {value}"
VT_NEXT = "VAR {name} = VAR {previous} "

CWE = (
    "Below is a numbered list of words. In these words, some appear more often than others."
    " Memorize the ones that appear most often.\n{context}\n"
    "Question: What are the 10 most common words in the above list?",
    " Answer: The top 10 words that appear most often in the list are:",
)
FWE = (
    "Read the following coded text and track the frequency of each coded word."
    " Find the three most frequently appeared coded words. {context}\n"
    "Question: Do not provide any explanation. Please ignore the dots '....'."
    " What are the three most frequently appeared words in the above coded text?",
    " Answer: According to the coded text above, the three most frequently appeared words are:",
)

PASSKEY_TASK = (
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them."
    " I will quiz you about the important information there."
)
PASSKEY_NEEDLE = "The pass key is {value}. Remember it. {value} is the pass key."
PASSKEY_QUESTION = "What is the pass key? The pass key is"
