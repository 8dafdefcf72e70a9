#!/bin/sh
# Runs an example plan on a scratch clone of the example repository, and shows the patches.
# usage: demo.sh DIRECTORY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: demo.sh DIRECTORY}
python=${PYTHON:-python3}

rm -rf "$out"
mkdir -p "$out"
out=$(cd "$out" && pwd)

echo "== a fresh virtual environment in $out/venv"
"$python" -m venv "$out/venv"
"$out/venv/bin/python" -m pip install --quiet "$here/.."

echo "== a scratch clone of the example repository in $out/repository"
cp -R "$here/repository" "$out/origin"
(
    cd "$out/origin"
    git init --quiet --initial-branch main
    git add --all
    git -c user.name=Example -c user.email=example@localhost commit --quiet --message "The example repository"
)
git clone --quiet "$out/origin" "$out/repository"

echo "== patchyard run examples/plan.md"
"$out/venv/bin/patchyard" run --repo "$out/repository" "$here/plan.md"

echo
echo "== the patches, as \`patchyard patches latest --output $out/patches\` writes them"
"$out/venv/bin/patchyard" patches latest --repo "$out/repository" --output "$out/patches"
for patch in "$out/patches"/*.patch; do
    echo
    echo "== ${patch##*/}"
    cat "$patch"
done
