-- The database of an interrupted run, as release 0.1.0 left it. @ROOT@ is the repository.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE attempts (
	run TEXT NOT NULL, 
	task TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	title TEXT NOT NULL, 
	batch INTEGER NOT NULL, 
	worktree TEXT, 
	path TEXT, 
	host TEXT, 
	started_at TEXT NOT NULL, 
	finished_at TEXT, 
	status TEXT, 
	seconds FLOAT NOT NULL, 
	exit_code INTEGER, 
	error TEXT, 
	start TEXT, 
	files TEXT, 
	tree TEXT, 
	patch BLOB, 
	log TEXT, 
	PRIMARY KEY (run, task, number), 
	FOREIGN KEY(run) REFERENCES runs (id) ON DELETE CASCADE
);
INSERT INTO "attempts" VALUES('20261128-064134-b14f','1.1',1,'First',1,'wt-1','@ROOT@-worktrees/wt-1','vm','2025-01-02T06:41:34.308682+00:00','2025-01-02T06:41:34.567561+00:00','changed',2.96796717999313841573e-01,0,NULL,'6ef4ac192e0529be0b37af68257eeb922ce76617','["one"]',NULL,NULL,'@ROOT@/.git/patchyard/runs/20261128-064134-b14f/1.1.log');
INSERT INTO "attempts" VALUES('20261128-064134-b14f','1.2',1,'Second',1,'wt-1','@ROOT@-worktrees/wt-1','vm','2025-01-02T06:41:34.594280+00:00',NULL,NULL,0.0,NULL,NULL,'6ef4ac192e0529be0b37af68257eeb922ce76617',NULL,NULL,NULL,'@ROOT@/.git/patchyard/runs/20261128-064134-b14f/1.2.log');
CREATE TABLE branches (
	repository TEXT NOT NULL, 
	name TEXT NOT NULL, 
	"commit" TEXT, 
	pushed TEXT, 
	PRIMARY KEY (repository, name)
);
INSERT INTO "branches" VALUES('','patchyard/demo/1.1','cf42c34006808beabba9508ab075d57fac951ff7',NULL);
CREATE TABLE conflicts (
	id INTEGER NOT NULL, 
	run TEXT NOT NULL, 
	batch INTEGER NOT NULL, 
	tasks TEXT NOT NULL, 
	files TEXT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(run) REFERENCES runs (id) ON DELETE CASCADE
);
CREATE TABLE events (
	run TEXT NOT NULL, 
	sequence INTEGER NOT NULL, 
	record TEXT NOT NULL, 
	PRIMARY KEY (run, sequence), 
	FOREIGN KEY(run) REFERENCES runs (id) ON DELETE CASCADE
);
INSERT INTO "events" VALUES('20261128-064134-b14f',1,'{"event": "run_started", "time": "2025-01-02T06:41:34.248Z", "run": "20261128-064134-b14f", "plan": "../plan.md", "title": "Demo", "base": "6ef4ac192e0529be0b37af68257eeb922ce76617", "pool_size": 1, "tasks": 2, "worktrees": "@ROOT@-worktrees"}');
INSERT INTO "events" VALUES('20261128-064134-b14f',2,'{"event": "batch_started", "time": "2025-01-02T06:41:34.262Z", "batch": 1, "title": "One", "mode": "local", "start": "6ef4ac192e0529be0b37af68257eeb922ce76617", "tasks": 2}');
INSERT INTO "events" VALUES('20261128-064134-b14f',3,'{"event": "task_started", "time": "2025-01-02T06:41:34.308Z", "task": "1.1", "title": "First", "batch": 1, "worktree": "wt-1"}');
INSERT INTO "events" VALUES('20261128-064134-b14f',4,'{"event": "step_started", "time": "2025-01-02T06:41:34.311Z", "task": "1.1", "worktree": "wt-1", "number": 1, "kind": "run", "command": "echo one > one"}');
INSERT INTO "events" VALUES('20261128-064134-b14f',5,'{"event": "step_finished", "time": "2025-01-02T06:41:34.526Z", "task": "1.1", "worktree": "wt-1", "number": 1, "kind": "run", "command": "echo one > one", "exit_code": 0, "seconds": 0.0101}');
INSERT INTO "events" VALUES('20261128-064134-b14f',6,'{"event": "task_finished", "time": "2025-01-02T06:41:34.573Z", "task": "1.1", "title": "First", "batch": 1, "worktree": "wt-1", "status": "changed", "seconds": 0.297, "branch": "patchyard/demo/1.1", "commit": "cf42c34006808beabba9508ab075d57fac951ff7", "files": ["one"], "exit_code": 0, "step": null, "error": null, "cached": false}');
INSERT INTO "events" VALUES('20261128-064134-b14f',7,'{"event": "task_started", "time": "2025-01-02T06:41:34.594Z", "task": "1.2", "title": "Second", "batch": 1, "worktree": "wt-1"}');
INSERT INTO "events" VALUES('20261128-064134-b14f',8,'{"event": "step_started", "time": "2025-01-02T06:41:34.595Z", "task": "1.2", "worktree": "wt-1", "number": 1, "kind": "run", "command": "test -e \"$SHARED/go\" || { sleep 1.5; kill -9 $PPID; }; echo two > two"}');
CREATE TABLE inputs (
	run TEXT NOT NULL, 
	task TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	mode TEXT NOT NULL, 
	start_tree TEXT NOT NULL, 
	image TEXT, 
	agent TEXT, 
	agent_command TEXT, 
	agent_version TEXT, 
	environment TEXT NOT NULL, 
	secrets TEXT NOT NULL, 
	PRIMARY KEY (run, task), 
	FOREIGN KEY(run) REFERENCES runs (id) ON DELETE CASCADE
);
INSERT INTO "inputs" VALUES('20261128-064134-b14f','1.1','8a28e1bcc120c2ef0917c3ab7c6b944fbcfa63081bd4aa345d71d796665fe1b5','local','7d4a466af82cd6857c85c0296d5c23fc68cba887',NULL,NULL,NULL,NULL,'[]','[]');
CREATE TABLE runs (
	id TEXT NOT NULL, 
	plan_path TEXT NOT NULL, 
	plan_name TEXT NOT NULL, 
	plan_title TEXT NOT NULL, 
	plan_text TEXT NOT NULL, 
	base TEXT NOT NULL, 
	base_name TEXT, 
	pool_size INTEGER NOT NULL, 
	status TEXT NOT NULL, 
	started_at TEXT NOT NULL, 
	finished_at TEXT, 
	seconds FLOAT, 
	speedup FLOAT, 
	efficiency FLOAT, 
	settings TEXT NOT NULL, 
	repository TEXT, 
	host TEXT, 
	directory TEXT, 
	call TEXT, 
	request TEXT, 
	owner TEXT, 
	lease_until TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "runs" VALUES('20261128-064134-b14f','../plan.md','demo','Demo','# Demo

## Batch 1: One

### Task 1.1: First

**Run:**

```sh
echo one > one
```

### Task 1.2: Second

**Run:**

```sh
test -e "$SHARED/go" || { sleep 1.5; kill -9 $PPID; }; echo two > two
```
','6ef4ac192e0529be0b37af68257eeb922ce76617','main',3,'running','2025-01-02T06:41:34.133149+00:00',NULL,NULL,NULL,NULL,'{"remote": "origin", "github": null, "labels": [], "reviewers": [], "secrets": [], "draft": false, "auto_merge": false, "agent": null, "publish": false}','','vm','@ROOT@/.git/patchyard/runs/20261128-064134-b14f','{"flags": {"mode": "local", "branch": "patchyard/{plan}/{task}"}, "selection": {"start_batch": null, "end_batch": null, "tasks": []}, "notify": false, "masked": false, "who": {"name": "Ann", "email": "ann@example.org", "offset": "+0000"}}',NULL,'vm:20674:85c31a49','2025-01-02T06:41:54.520109+00:00');
CREATE TABLE steps (
	run TEXT NOT NULL, 
	task TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	command TEXT NOT NULL, 
	exit_code INTEGER, 
	seconds FLOAT NOT NULL, 
	error TEXT, 
	finished_at TEXT NOT NULL, 
	PRIMARY KEY (run, task, attempt, number), 
	FOREIGN KEY(run) REFERENCES runs (id) ON DELETE CASCADE
);
INSERT INTO "steps" VALUES('20261128-064134-b14f','1.1',1,1,'run','echo one > one',0,1.01433750005526235327e-02,NULL,'2025-01-02T06:41:34.524293+00:00');
CREATE TABLE tasks (
	run TEXT NOT NULL, 
	task TEXT NOT NULL, 
	position INTEGER NOT NULL, 
	title TEXT NOT NULL, 
	batch INTEGER NOT NULL, 
	status TEXT NOT NULL, 
	worktree TEXT, 
	seconds FLOAT NOT NULL, 
	started_at TEXT, 
	finished_at TEXT, 
	start TEXT, 
	start_branch TEXT, 
	builds_on TEXT NOT NULL, 
	branch TEXT, 
	"commit" TEXT, 
	files TEXT NOT NULL, 
	exit_code INTEGER, 
	step TEXT, 
	error TEXT, 
	cost FLOAT, 
	cached BOOLEAN, 
	log TEXT, 
	tree TEXT, 
	patch BLOB, 
	request_number INTEGER, 
	request_url TEXT, 
	request_base TEXT, 
	request_action TEXT, 
	attempt INTEGER, 
	redo BOOLEAN, 
	PRIMARY KEY (run, task), 
	FOREIGN KEY(run) REFERENCES runs (id) ON DELETE CASCADE
);
INSERT INTO "tasks" VALUES('20261128-064134-b14f','1.1',0,'First',1,'changed','wt-1',2.96796717999313841573e-01,'2025-01-02T06:41:34.308682+00:00','2025-01-02T06:41:34.567561+00:00','6ef4ac192e0529be0b37af68257eeb922ce76617',NULL,'[]','patchyard/demo/1.1','cf42c34006808beabba9508ab075d57fac951ff7','["one"]',0,NULL,NULL,NULL,0,'@ROOT@/.git/patchyard/runs/20261128-064134-b14f/1.1.log','09cd02cbbd9cd73d85c5f80ca3ab806a6a604bbb',X'64696666202D2D67697420612F6F6E6520622F6F6E650A6E65772066696C65206D6F6465203130303634340A696E64657820303030303030303030303030303030303030303030303030303030303030303030303030303030302E2E353632366162663066373265353864376131353333363862613537646234633637336330653137310A2D2D2D202F6465762F6E756C6C0A2B2B2B20622F6F6E650A4040202D302C30202B312040400A2B6F6E650A',NULL,NULL,NULL,NULL,1,0);
COMMIT;
