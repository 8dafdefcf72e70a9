"""What a task may do to its worktree, as scripts for bash, in a clone with the files of `stages.FILES`."""

TASKS = {
    "edits": (
        "echo more >> README.md; rm src/app.py; mkdir new; > new/file; echo l > x.log; mkdir build; > build/o"
    ),
    "commits": "echo more >> README.md; git add -A; git commit -qm mine; git rm -q README.md",
    "another branch": "git checkout -q -b topic; echo more >> README.md; git commit -qam mine",
    "a branch of the user's": "git checkout -q feature; echo more >> README.md",
    "a merge half-done": (
        "git checkout -q -b a; echo a > README.md; git commit -qam a; git checkout -q -b b HEAD~1; "
        "echo b > README.md; git commit -qam b; git merge a || true; "
        "test -f $(git rev-parse --git-path MERGE_HEAD)"
    ),
    "a rebase half-done": (
        "git checkout -q -b c; echo a > README.md; git commit -qam a; git checkout -q -b d HEAD~1; "
        "echo b > README.md; git commit -qam b; git rebase c || true; "
        "test -d $(git rev-parse --git-path rebase-merge)"
    ),
    "a bisection": "git bisect start; git bisect bad; test -f $(git rev-parse --git-path BISECT_START)",
    "locks": "touch $(git rev-parse --git-path index.lock) $(git rev-parse --git-path HEAD.lock)",
    "no .git": "rm -rf .git; echo more >> README.md",
    "a repository in place of .git": "rm -rf .git; git init -q; git add -A; git commit -qm own",
    "a .git that leads elsewhere": "rm -rf .git; echo 'gitdir: /nowhere' > .git",
    "assume-unchanged": "git update-index --assume-unchanged README.md; echo more >> README.md",
    "skip-worktree": "git update-index --skip-worktree README.md; echo more >> README.md",
    "an index of its own": "i=$(git rev-parse --git-path index); rm $i; echo junk > $i",
    "an index that is a link": (
        "i=$(git rev-parse --git-path index); echo precious > ../../precious; ln -sf $PWD/../../precious $i"
    ),
    "a sparse checkout": "git sparse-checkout set docs",
    "times set back": "touch -r README.md ../t; echo '# Samplf' > README.md; touch -r ../t README.md; rm ../t",
    "a file where a directory was": "rm -r src; echo f > src",
    "a directory where a file was": "rm README.md; mkdir README.md; echo f > README.md/f",
    "a directory moved and linked": "mv src moved; ln -s moved src",
    "a directory moved out and linked": "rm -rf ../../out; mv src ../../out; ln -s $PWD/../../out src",
    "links made files": "rm link; echo f > link; chmod 600 run.sh; ln -sf /etc/passwd README.md",
    "modes": "chmod 755 README.md; chmod 644 run.sh",
    "no access": (
        "chmod 000 README.md docs; chmod 555 src; mkdir -p build/deep; > build/deep/f; chmod 555 build/deep"
    ),
    "no access in ignored places": (
        "mkdir -p build/a/b new; > build/a/b/c; > new/f; chmod 000 build/a/b new; chmod 311 src"
    ),
    "a nested repository": (
        "git init -q n; echo f > n/f; git -C n add f; git -C n commit -qm n; git init -q m; > m/f"
    ),
    "a nested repository over tracked files": (
        "git init -q src; git -C src add -A; git -C src commit -qm n; git init -q src/lib"
    ),
    "a nested worktree": "git worktree add -q --detach nested-tree",
    "a fifo": "mkfifo pipe; rm README.md; mkfifo README.md",
    "empty directories": "mkdir -p e/f/g src/e build",
    "a worktree setting": "git config extensions.worktreeConfig true; git config --worktree core.autocrlf true",
    "stashes": "echo more >> README.md; git stash -q; git stash apply -q",
    "names": r"touch 'a b' $'new\nline' ünï $'\xff\xfe' -- -dash '*' '\"q\"'",
    "a fake submodule": "git init -q s; git -C s commit -q --allow-empty -m s; git add s; git commit -qm s",
    "everything gone": "rm -rf * .gitignore",
}
