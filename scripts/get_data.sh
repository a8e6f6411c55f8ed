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

# fetch FILE SHA256 URL: one file, kept only when it is the expected one.
fetch() {
  local file=$dir/$1
  if is_original "$file" "$2"; then
    printf '%s is there already\n' "$file"
    return
  fi
  step curl --fail --location --silent --show-error --output "$file.part" "$3"
  is_original "$file.part" "$2" || die "$3 is not the file that RULER used (sha256 $2); it is in $file.part"
  mv "$file.part" "$file"
}

lists=(adjectivelist nounlist verblist)
if [[ -f $dir/wonderwords/nounlist.txt && -f $dir/wonderwords/adjectivelist.txt && -f $dir/wonderwords/verblist.txt ]]; then
  printf '%s is there already\n' "$dir/wonderwords"
else
  package=$(mktemp -d)
  trap 'rm -rf "$package"' EXIT
  step python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$package" wonderwords==3.0.0
  mkdir -p "$dir/wonderwords"
  for list in "${lists[@]}"; do
    python3 - "$package" "$list.txt" >"$dir/wonderwords/$list.txt" <<'PYTHON'
import pathlib, sys, zipfile
wheel = zipfile.ZipFile(next(pathlib.Path(sys.argv[1]).glob("*.whl")))
sys.stdout.buffer.write(wheel.read("wonderwords/assets/" + sys.argv[2]))
PYTHON
  done
fi
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
TEXT
printf '\nwhat the tasks make of it: build/sala tasks list --data %s\n' "$dir"
