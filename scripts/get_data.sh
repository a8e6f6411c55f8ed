#!/usr/bin/env bash
# Fetches the benchmark data that is free to fetch into a --data folder and says what is left for you to bring.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

usage() {
  cat <<'TEXT'
usage: scripts/get_data.sh [DIR]
Fetches into DIR (default: my-data) what RULER's tasks read and what anyone may fetch:
  wonderwords/    word lists of the Python package wonderwords 3.0.0, MIT
  squad.json      SQuAD 2.0, development set, CC BY-SA 4.0
  hotpotqa.json   HotpotQA, distractor development set, CC BY-SA 4.0
Then: build/sala run --suite ruler --data DIR
What is missing there is replaced by built-in text, and the result marked as not comparable.
TEXT
}

case ${1-} in
  --help | -h) usage; exit 0 ;;
  -*) usage >&2; die "unknown option $1" ;;
esac
dir=${1:-my-data}
mkdir -p "$dir"

# is_original FILE SHA256
is_original() { [[ -f $1 ]] && echo "$2  $1" | sha256sum --check --status; }

failed=()

# fetch FILE SHA256 URL: one file, kept only when it is the expected one.
fetch() {
  local file=$dir/$1
  if is_original "$file" "$2"; then
    printf '%s is there already\n' "$file"
  elif ! step curl --fail --location --silent --show-error --output "$file.part" "$3"; then
    failed+=("$1: $3 cannot be fetched")
  elif ! is_original "$file.part" "$2"; then
    failed+=("$1: $3 is not the file that RULER used (sha256 $2); it is in $file.part")
  else
    mv "$file.part" "$file"
  fi
}

# fetch_words: the three lists out of the Python package.
fetch_words() {
  local lists=(adjectivelist.txt nounlist.txt verblist.txt) list
  for list in "${lists[@]}"; do [[ -f $dir/wonderwords/$list ]] || break; done
  if [[ -f $dir/wonderwords/$list ]]; then
    printf '%s is there already\n' "$dir/wonderwords"
    return
  fi
  package=$(mktemp -d)
  trap 'rm -rf "$package"' EXIT
  if ! step python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$package" wonderwords==3.0.0; then
    failed+=("wonderwords: pip cannot fetch the package")
    return
  fi
  python3 - "$package" "$dir/wonderwords" "${lists[@]}" <<'PYTHON'
import pathlib, sys, zipfile
package, folder, *lists = sys.argv[1:]
wheel = zipfile.ZipFile(next(pathlib.Path(package).glob("*.whl")))
pathlib.Path(folder).mkdir(exist_ok=True)
for name in lists:
    pathlib.Path(folder, name).write_bytes(wheel.read("wonderwords/assets/" + name))
PYTHON
}

fetch_words
fetch squad.json 80a5225e94905956a6446d296ca1093975c4d3b3260f1d6c8f68bc2ab77182d8 \
  https://rajpurkar.github.io/SQuAD-explorer/dataset/dev-v2.0.json
fetch hotpotqa.json 4e9ecb5c8d3b719f624d66b60f8d56bf227f03914f5f0753d6fa1b359d7104ea \
  http://curtis.ml.cmu.edu/datasets/hotpot/hotpot_dev_distractor_v1.json

cat <<TEXT

Still yours to bring, where you have the right to use them (details: docs/ruler.md):
  $dir/essay.json          Paul Graham's essays as RULER joins them; (c) the author, no licence. RULER's
                           scripts/data/synthetic/json/download_paulgraham_essay.py makes PaulGrahamEssays.json.
                           Any other text as {"text": "..."} works and is marked as a stand-in.
  $dir/essay.sents.json    scripts/make_sentence_starts.py $dir/essay.json > $dir/essay.sents.json
                           (official mode; needs NLTK's English Punkt model, licence unclear)
  $dir/english_words.json  RULER's repository, scripts/data/synthetic/json/english_words.json (Git LFS);
                           for cwe beyond 8166 different words

For the other suites (layouts: docs/suites.md), each under its owner's terms:
  $dir/nolima/         Hugging Face amodaresi/NoLiMa; Adobe Research License, not for commercial use
  $dir/mrcr/           Hugging Face openai/mrcr; MIT
  $dir/mrcr_v2/        google-deepmind/eval_hub, mrcr_v2/download.sh; Apache-2.0
  $dir/babilong/       Hugging Face RMT-team/babilong; Apache-2.0, bAbI and PG-19 have terms of their own
  $dir/longbench/      Hugging Face THUDM/LongBench; MIT, its sources have terms of their own
  $dir/longbench2/     Hugging Face THUDM/LongBench-v2; as LongBench
  $dir/infinitebench/  Hugging Face xinrongzhang2022/InfiniteBench; MIT
  $dir/niah/           essays as .txt, repository gkamradt/LLMTest_NeedleInAHaystack; (c) the author, no licence
TEXT
printf '\nwhat the tasks make of it: build/sala tasks list --data %s\n' "$dir"
if ((${#failed[@]})); then
  printf '\nnot fetched, built-in replacements are used in strict mode:\n' >&2
  printf '  %s\n' "${failed[@]}" >&2
  exit 1
fi
