#!/bin/sh
# Run an example plan on a scratch clone of the example repository, and show its patches.
# usage: demo.sh DIRECTORY      DIRECTORY is deleted and recreated; nothing outside of it changes
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: demo.sh DIRECTORY}
python=${PYTHON:-python3}

say() {
    printf '\n== %s\n' "$*"
}

rm -rf "$out"
mkdir -p "$out"
out=$(cd "$out" && pwd)
patchyard=$out/venv/bin/patchyard
clone=$out/repository

say "1. patchyard, in a virtual environment of its own: $out/venv (takes a minute)"
"$python" -m venv "$out/venv"
"$out/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$here/.."
"$patchyard" --version

say "2. a scratch clone of the example repository: $clone"
cp -R "$here/repository" "$out/origin"
git -C "$out/origin" init --quiet --initial-branch main
git -C "$out/origin" add --all
git -C "$out/origin" -c user.name=Example -c user.email=example@localhost -c commit.gpgSign=false \
    commit --quiet --message "A word counter"
git clone --quiet "$out/origin" "$clone"
git -C "$clone" log --oneline

say "3. patchyard run examples/plan.md: two batches of three tasks, each task in its own worktree"
"$patchyard" run "$here/plan.md" --repo "$clone"

say "4. patchyard patches latest: one file per task"
"$patchyard" patches latest --repo "$clone" --output "$out/patches"
for patch in "$out/patches"/*.patch; do
    say "${patch##*/}"
    cat "$patch"
done

say "5. each task is a commit on its own branch, and the checkout is unchanged"
git -C "$clone" log --oneline --graph --branches='patchyard/*' main
git -C "$clone" status --short --branch

cat <<END

Next steps, in $clone:
  $patchyard status            the outcome of each task
  $patchyard logs latest 1.1   the output of a task
  $patchyard diff latest 2.3   its patch
  $patchyard clean             remove the worktrees
END
