# SPDX-FileCopyrightText: 2026 The elmer_jax authors
# SPDX-License-Identifier: Apache-2.0
"""The stemming of ROUGE-1.5.5, the program that scored published results.

It looks up a word in a list of irregular English forms and takes the base form; other
words are stemmed by the original version of Porter's algorithm. Words of up to three
letters are not changed. rouge-score applies only a later version of Porter's rules:
"took" and "take", "been" and "be" don't match, and ROUGE-1 is up to 0.45 points lower.
The list here has the irregular verbs, plurals and comparisons of everyday English;
ROUGE uses WordNet's, which is longer. `benchmarks/xsum_rouge.py` compares with
published figures.
"""

import functools

SHORTEST = 3  # letters; words up to this length are not changed

# A base form, then its irregular forms; a semicolon between words. Forms of up to three
# letters (was, had, ran) are never looked up.
_VERBS = """
arise arose arisen; awake awoke awoken; be been were; bear bore born borne; beat beaten;
become became; befall befell befallen; begin began begun; behold beheld; bend bent; bid
bade bidden; bind bound; bite bitten; bleed bled; blow blew blown; break broke broken;
breed bred; bring brought; build built; burn burnt; buy bought; catch caught; choose
chose chosen; clothe clad; cling clung; come came; creep crept; deal dealt; do done;
draw drew drawn; dream dreamt; drink drank drunk; drive drove driven; dwell dwelt; eat
eaten; fall fell fallen; feel felt; fight fought; find found; flee fled; fling flung;
fly flew flown; forbid forbade forbidden; foresee foresaw foreseen; forget forgot
forgotten; forgive forgave forgiven; forsake forsook forsaken; freeze froze frozen; get
gotten; give gave given; go goes gone went; grind ground; grow grew grown; hang hung;
hear heard; hide hidden; hold held; inlay inlaid; keep kept; kneel knelt; know knew
known; lade laden; lay laid; leap leapt; learn learnt; leave left; lend lent; lie lain
lying; die dying; tie tying; vie vying; lose lost; make made; mean meant; may might;
mislead misled; mistake mistook mistaken; misunderstand misunderstood; mow mown; outdo
outdone; overcome overcame; overdo overdone; overhear overheard; oversee oversaw
overseen; overtake overtook overtaken; overthrow overthrew overthrown; partake partook
partaken; pay paid; plead pled; prove proven; rebuild rebuilt; redo redone; remake
remade; repay repaid; retake retook retaken; retell retold; rewrite rewrote rewritten;
ride rode ridden; ring rang rung; rise rose risen; saw sawn; say said; see seen; seek
sought; sell sold; send sent; sew sewn; shake shook shaken; shine shone; shoot shot;
show shown; shrink shrank shrunk; sing sang sung; sink sank sunk sunken; slay slew
slain; sleep slept; slide slid; sling slung; smell smelt; sow sown; speak spoke spoken;
speed sped; spell spelt; spend spent; spill spilt; spin spun; spit spat; spoil spoilt;
spring sprang sprung; stand stood; steal stole stolen; stick stuck; sting stung; stink
stank stunk; stride strode stridden; strike struck; string strung; strive strove
striven; swear swore sworn; sweep swept; swell swollen; swim swam swum; swing swung;
take took taken; teach taught; tear tore torn; tell told; think thought; throw threw
thrown; tread trod trodden; undergo underwent undergone; understand understood;
undertake undertook undertaken; undo undone; uphold upheld; wake woke woken; wear wore
worn; weave wove woven; weep wept; wind wound; withdraw withdrew withdrawn; withhold
withheld; withstand withstood; wring wrung; write wrote written; panic panicked
panicking; traffic trafficked trafficking; mimic mimicked mimicking; picnic picnicked
picnicking; carry carried; try tried; deny denied; identify identified; worry worried;
qualify qualified; marry married; bury buried; occupy occupied; apply applied; modify
modified; reply replied; study studied; satisfy satisfied; terrify terrified; supply
supplied; bully bullied; accompany accompanied; rally rallied; defy defied; justify
justified; classify classified; ratify ratified; verify verified; specify specified;
rely relied; notify notified; clarify clarified; empty emptied; hurry hurried; copy
copied; multiply multiplied; imply implied; cry cried; dry dried; fry fried; vary varied
"""
_NOUNS = """
analysis analyses; calf calves; child children; crisis crises; criterion criteria;
curriculum curricula; datum data; diagnosis diagnoses; dwarf dwarves; elf elves; foot
feet; fungus fungi; goose geese; grandchild grandchildren; half halves; hoof hooves;
hypothesis hypotheses; index indices; knife knives; leaf leaves; life lives; loaf
loaves; louse lice; matrix matrices; medium media; midwife midwives; mouse mice; nucleus
nuclei; ox oxen; parenthesis parentheses; penny pence; phenomenon phenomena; radius
radii; scarf scarves; self selves; sheaf sheaves; shelf shelves; spectrum spectra;
stadium stadia; stimulus stimuli; stratum strata; synthesis syntheses; thesis theses;
thief thieves; tooth teeth; vertex vertices; wife wives; wolf wolves
"""
_COMPARISONS = """
bad worse worst; well better best; far farther further; big bigger biggest; early
earlier earliest; easy easier easiest; young younger youngest; busy busier busiest;
strong stronger strongest; hard harder hardest; heavy heavier heaviest; hot hotter
hottest; wealthy wealthier wealthiest; deadly deadlier deadliest; happy happier
happiest; healthy healthier healthiest; funny funnier funniest; dry drier driest; thin
thinner thinnest; wet wetter wettest; fat fatter fattest; angry angrier angriest; lucky
luckier luckiest; pretty prettier prettiest; ugly uglier ugliest; tiny tinier tiniest
"""


@functools.cache
def irregular_forms() -> dict[str, str]:
  """Returns the base forms of irregular words: {"took": "take", …}."""
  found = {}
  for table in (_VERBS, _NOUNS, _COMPARISONS):
    for entry in table.split(";"):
      base, *forms = entry.split()
      found |= dict.fromkeys(forms, base)
  return found


@functools.cache
def _porter():
  from nltk.stem import porter

  return porter.PorterStemmer(porter.PorterStemmer.ORIGINAL_ALGORITHM)


@functools.lru_cache(2**18)
def stem(word: str) -> str:
  """Returns the stem of a word in lower case."""
  if len(word) <= SHORTEST:
    return word
  return irregular_forms().get(word) or _porter().stem(word)
