# Ends with 0, with 3 where something went to bad/, and at once where the files are not to blame: they stay.
mkdir -p done bad
code=0
for file in inbox/*.csv; do
  [ -e "$file" ] || continue                       # the inbox is empty
  name=$(date +%Y%m%dT%H%M%S)-$(basename "$file")  # an export has the same name each night
  errors=$(triage create "$file" -q -o jsonl --rejects "bad/rows-$name" 2>&1 > /dev/null); ended=$?
  [ -z "$errors" ] || echo "$errors" >&2
  case $ended:$(echo "$errors" | tail -n 1 | jq -r .error.code 2> /dev/null) in
    0:*)     mv "$file" "done/$name" ;;
    3:*)     mv "$file" "done/$name"; code=3 ;;    # some rows were rejected; they stand in bad/
    2:input) mv "$file" "bad/$name"; code=3 ;;     # no table of tickets
    *)       exit "$ended" ;;                      # a mistake in the configuration, a full disk, ...
  esac
  [ -s "bad/rows-$name" ] || rm -f "bad/rows-$name"
done
exit "$code"
