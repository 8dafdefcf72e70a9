# Scripts of tasks, each run in a worktree and in a container: their patches must be equal.

### nothing
true

### adds
mkdir -p new/deep
echo n > new/deep/file
echo n > src/new
printf 'no newline' > end

### edits
echo more >> README.md
echo 'x = 2' > src/lib/util.py
printf '\0\1' >> blob.bin

### deletes
rm -r README.md src/lib docs

### deletes everything
rm -rf * .gitignore

### renames
mv README.md READ.md
git mv src/app.py src/lib/program.py
mv docs papers

### renames by case
mv README.md readme.md
mv src SRC

### modes
chmod 755 README.md
chmod 644 run.sh
chmod 600 empty
echo x > tool
chmod 755 tool

### files that nobody may read
echo secret >> README.md
chmod 000 README.md
mkdir d
echo x > d/x
chmod 500 d

### times set back
touch -r README.md /tmp/time$PATCHYARD_TASK
echo '# Samplf' > r
tail -n +2 README.md >> r
cat r > README.md
rm r
touch -r /tmp/time$PATCHYARD_TASK README.md

### touched, and no more
touch README.md src/app.py
chmod u+w README.md

### links
ln -s nowhere dangling
ln -s src directory
ln -s /etc/passwd absolute
ln -s ../outside up
ln -s 'odd name' src/odd
mkdir e
ln -s ../README.md e/readme

### links made something else
rm link
echo file > link
rm link-to-directory
mkdir link-to-directory
echo f > link-to-directory/f
ln -sfn src/lib moved-link
ls outside > listed

### something else made links
rm README.md
ln -s run.sh README.md
rm -r src
ln -s outside src
rm -r docs
ln -s /etc docs

### files made directories
rm README.md
mkdir README.md
echo f > README.md/f
rm -r src
echo f > src

### names
echo 1 > 'a b'
echo 1 > "$(printf 'new\nline')"
echo 1 > "$(printf '\303\274n\303\257')"
echo 1 > -- -dash
echo 1 > '"q"'
echo 1 > "it's"
echo 1 > '*'
echo 1 > 'a\b'
echo 1 > ' '
mkdir -p 'd d/[x]'
echo 1 > 'd d/[x]/#'
echo 1 > ':colon'
echo 1 > '!bang'
echo 1 > '~'

### names edited and deleted
cd docs
echo more >> ./-dash
rm 'a b'* '"quoted" *?[x]\'

### names that are not UTF-8
echo 1 > "$(printf '\377\376')"
echo 1 > "$(printf 'd\351j\340')"

### latin names edited
for f in latin/e*; do echo more >> "$f"; done; rm latin/g*

### commits
echo 1 > one
git add -A
git commit -qm one
echo 2 >> one
git commit -qam two
echo 3 > three

### a commit taken back
echo 1 > one
git add -A
git commit -qm one
git rm -q one
rm README.md
git commit -qam no

### another branch
git checkout -q -b topic-$PATCHYARD_RUN
echo 1 > one
git add one
git commit -qm one
git checkout -q --detach

### an index of its own
echo 1 > one
echo 2 > two
git add one
git rm -q --cached README.md
rm -f src/app.py

### ignored files
mkdir -p build/deep src/build
echo x > build/deep/x
echo x > src/build/x
echo x > a.log
echo n > n

### ignored files, forced
echo x > a.log
git add -f a.log
git commit -qm forced
echo y > b

### tracked files that are ignored
echo more >> forced/kept.log
rm forced/build/kept
echo x > forced/other.log

### rules that ignore what is tracked
echo '*.md' >> .gitignore
echo 'src/' >> .gitignore
echo m >> README.md
echo n > n.md

### rules that ignore less
echo '*.bak' > .gitignore
echo x > a.log
mkdir build
echo x > build/x
echo x > a.bak

### no rules any more
rm .gitignore src/.gitignore
echo x > a.log
echo x > src/a.tmp

### rules below
echo x > src/a.tmp
echo x > src/keep.tmp
echo x > a.tmp
mkdir -p web/node_modules/m
echo '{}' > web/package.json
echo x > web/node_modules/m/index.js
printf '/dist\n!/dist/keep\n' > web/.gitignore
mkdir web/dist
echo x > web/dist/x
echo x > web/dist/keep

### many ignored files
i=0
while [ $i -lt 3000 ]; do
  mkdir -p node_modules/$((i % 50))
  echo $i > node_modules/$((i % 50))/$i
  i=$((i + 1))
done
echo n > n

### many files
mkdir many
i=0
while [ $i -lt 1500 ]; do
  echo $i > many/$i
  i=$((i + 1))
done

### empty directories
mkdir -p e/f/g src/e
rm outside/file

### empty files
: > none
: > README.md
mkdir d
: > d/none

### line ends
printf 'a\r\nb\n' > mixed
printf 'one\ntwo\n' > crlf.dat
printf 'a\rb' > mac

### attributes
echo '*.txt text eol=crlf' > .gitattributes
printf 'a\nb\n' > new.txt
echo more >> README.md

### a nested repository
git init -q n
echo f > n/f
git -C n add f
git -C n commit -qm n
git init -q m
echo f > m/f

### a nested repository over tracked files
git init -q src
git -C src add -A
git -C src commit -qm n
echo x > src/x

### no .git
rm -rf .git
echo more >> README.md

### a repository in place of .git
rm -rf .git
git init -q
git add -A
git commit -qm own
echo more >> README.md

### a link in place of .git
rm -rf .git
ln -s /etc .git
echo more >> README.md

### a big file
yes 'a line of text' | head -c 20000000 > big
dd if=/dev/zero of=zeros bs=1M count=8 2> /dev/null

### hard links
echo x > one
ln one two
ln README.md other

### a failure after changes
echo more >> README.md
echo n > n
exit 3

### a signal after changes
echo more >> README.md
kill -TERM $$
