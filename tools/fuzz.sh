#!/bin/sh
# Fuzzes the page parsers and ends with what was found: sh tools/fuzz.sh PYTHON SECONDS FOLDER
set -eu
python=$1
seconds=$2
folder=$3
fuzz=stax_pipeline_tests/fuzz

mkdir -p "$folder"
touch "$folder.begun"
code=0
"$python" -m stax_pipeline_tests.fuzz "$folder" "$fuzz/corpus" -dict="$fuzz/words.dict" -max_total_time="$seconds" \
    -timeout=10 -rss_limit_mb=1024 -artifact_prefix="$folder/" || code=$?
# What libFuzzer learns is named by a hash alone; a finding has a word and a hyphen before it.
found=$(find "$folder" -name '*-*' ! -exec test "$folder.begun" -nt {} \; -print)
if [ -n "$found" ]; then
    echo "FOUND: $found" >&2
    exit 1
fi
if [ "$code" -ne 0 ]; then
    echo "fuzzing ended early with exit code $code and left no finding: what is above says why" >&2
    exit "$code"
fi
echo "no findings in $seconds seconds"
