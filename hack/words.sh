#!/usr/bin/env bash
# Refuses the words of hack/words.txt in comments of Go files, in Markdown outside
# of code, in the comments of the chart's values and in its notes.
# words.sh FILE... looks at these files only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -gt 0 ] || mapfile -t files < <(git ls-files '*.go' '*.md' 'charts/*/values.yaml' 'charts/*/templates/NOTES.txt' | grep -v '_templ\.go$')
[ $# -eq 0 ] || files=("$@")
[ ${#files[@]} -gt 0 ] || { echo 'no files: this is not a git checkout'; exit 2; }

# prose prints file:line: text of what is read by people.
prose() {
  awk '
    FNR == 1 { fenced = 0 }
    { text = $0 }
    FILENAME ~ /\.go$/ { if (!match(text, /(^|[[:space:]])\/\/ /)) next; text = substr(text, RSTART) }
    FILENAME ~ /\.yaml$/ { if (!match(text, /(^|[[:space:]])#/)) next; text = substr(text, RSTART) }
    FILENAME ~ /\.md$/ { if (text ~ /^[[:space:]]*(```|~~~)/) { fenced = !fenced; next } if (fenced) next; gsub(/`[^`]*`/, "", text) }
    { print FILENAME ":" FNR ": " text }' "${files[@]}"
}

text=$(prose)
status=0
while IFS=$'\t' read -r pattern why instead; do
  [[ $pattern == '#'* || -z $pattern ]] && continue
  [ -n "$instead" ] || { echo "hack/words.txt: \"$pattern\" has no reason or no other word"; exit 2; }
  if found=$(grep -iwE "$pattern" <<<"$text"); then
    printf '%s\n    refused: %s; write %s\n' "$(cut -c1-200 <<<"$found")" "$why" "$instead"
    status=1
  fi
done <hack/words.txt
exit $status
