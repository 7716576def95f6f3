#!/bin/sh
# What an agent changed in its work folder, as a diff. Git reads what the agent wrote, so this runs where the agent ran.
#
#   changes.sh before   keep what init left; without it everything there is in the end is new
#   changes.sh after    the difference since then, at most 4 MB of it, into changes.patch beside this script
#
# Repositories that init made in a folder of the work folder are told as folders; those the agent made itself are left
# out, as are artifacts/ and result.json, which are kept on their own. POSIX sh, and git of any year.
set -u
own=${0%/*}
most=4194304
mkdir -p "$own/base" || exit 1
unset XDG_CONFIG_HOME GIT_CONFIG_COUNT GIT_CONFIG_PARAMETERS
export GIT_DIR="$own/base/git" GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null HOME="$own/base" LC_ALL=C

# Nobody's settings but these: no hook, no program of a repository's own, no clean-up in the background.
ours() {
    git -c core.hooksPath=/dev/null -c core.fsmonitor=false -c core.quotePath=false -c core.autocrlf=false \
        -c core.safecrlf=false -c core.looseCompression=1 -c gc.auto=0 -c advice.addEmbeddedRepo=false "$@"
}

# leave_out: repositories one folder down are none of the work folder's own files.
leave_out() {
    printf '/%s\n' artifacts result.json
    for folder in */ .[!.]*/; do
        [ ! -e "${folder}.git" ] || printf '/%s\n' "$folder" | sed 's/[][\\*?]/\\&/g'
    done
}

# take FOLDER: what it holds now, into the index.
take() {
    (
        cd "./$1" || exit 1
        export GIT_WORK_TREE=.
        leaving=/dev/null
        [ "$1" != . ] || leaving=$own/base/exclude
        ours -c core.excludesFile="$leaving" add -A --ignore-errors .
    )
}

# tell FOLDER NUMBER: how the index differs from what was kept before.
tell() {
    under=
    [ "$1" = . ] || under=$1
    tree=$(cat "$own/base/tree.$2" 2>/dev/null) || tree=$(ours hash-object -t tree /dev/null)
    ours diff --cached --no-ext-diff --no-textconv --no-color --src-prefix="a/$under" --dst-prefix="b/$under" "$tree"
}

before() {
    number=0
    for folder in . */ .[!.]*/; do
        [ "$folder" = . ] || [ -e "${folder}.git" ] || continue
        export GIT_INDEX_FILE="$own/base/index.$number"
        take "$folder" && ours write-tree >"$own/base/tree.$number"
        printf '%s\n' "$folder" >>"$own/base/folders"
        number=$((number + 1))
    done
}

after() {
    [ -f "$own/base/folders" ] || echo . >"$own/base/folders"
    number=0
    while IFS= read -r folder; do
        export GIT_INDEX_FILE="$own/base/index.$number"
        take "$folder" && tell "$folder" "$number"
        number=$((number + 1))
    done <"$own/base/folders" | head -c "$most" >"$own/base/patch"
    # Whole or not at all: whoever ends the container may come in between.
    mv "$own/base/patch" "$own/changes.patch"
}

[ -d "$GIT_DIR" ] || ours init -q --bare --template= || exit 1
leave_out >"$own/base/exclude"
case ${1-} in
    before) before ;;
    after) after ;;
esac
