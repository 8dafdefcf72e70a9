BEGIN TRANSACTION;
CREATE TABLE branches (
	name TEXT NOT NULL, 
	"commit" TEXT, 
	pushed TEXT, 
	PRIMARY KEY (name)
);
INSERT INTO "branches" VALUES('patchyard/demo/1.1','dddddddddddddddddddddddddddddddddddddddd','dddddddddddddddddddddddddddddddddddddddd');
CREATE TABLE conflicts (
	id INTEGER NOT NULL, 
	run TEXT NOT NULL, 
	batch INTEGER NOT NULL, 
	tasks TEXT NOT NULL, 
	files TEXT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(run) REFERENCES runs (id) ON DELETE CASCADE
);
INSERT INTO "conflicts" VALUES(1,'20260102-030405-abcd',1,'["1.1", "1.2"]','["a b"]');
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
INSERT INTO "inputs" VALUES('20260102-030405-abcd','1.1','kkkkkkkk','local','tttttttttttttttttttttttttttttttttttttttt',NULL,'claude','claude -p','1.0','["A"]','["B"]');
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
	PRIMARY KEY (id)
);
INSERT INTO "runs" VALUES('20260102-030405-abcd','plan.md','demo','Demo','# Demo
','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','main',3,'failed','2026-01-02T03:04:05.678000+00:00','2026-01-02T03:04:10.000000+00:00',2.5,1.0,0.5,'{"remote": "origin", "labels": ["x"]}');
CREATE TABLE steps (
	run TEXT NOT NULL, 
	task TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	command TEXT NOT NULL, 
	exit_code INTEGER, 
	seconds FLOAT NOT NULL, 
	error TEXT, 
	finished_at TEXT NOT NULL, 
	PRIMARY KEY (run, task, number), 
	FOREIGN KEY(run) REFERENCES runs (id) ON DELETE CASCADE
);
INSERT INTO "steps" VALUES('20260102-030405-abcd','1.1',1,'run','make test',0,0.5,NULL,'2026-01-02T03:04:10.000000+00:00');
INSERT INTO "steps" VALUES('20260102-030405-abcd','1.1',2,'run','make test',0,1.5,NULL,'2026-01-02T03:04:10.000000+00:00');
INSERT INTO "steps" VALUES('20260102-030405-abcd','1.2',1,'run','make test',3,0.25,'it''s broken','2026-01-02T03:04:10.000000+00:00');
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
	PRIMARY KEY (run, task), 
	FOREIGN KEY(run) REFERENCES runs (id) ON DELETE CASCADE
);
INSERT INTO "tasks" VALUES('20260102-030405-abcd','1.1',0,'First',1,'changed','wt-1',2.0,'2026-01-02T03:04:05.678000+00:00','2026-01-02T03:04:10.000000+00:00','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',NULL,'[]','patchyard/demo/1.1','dddddddddddddddddddddddddddddddddddddddd','["a b", "\udcff"]',0,NULL,NULL,0.5,0,'/srv/repo/.git/patchyard/runs/x/1.1.log','cccccccccccccccccccccccccccccccccccccccc',X'6469666620FF000A',7,'https://example.org/pull/7','main','opened');
INSERT INTO "tasks" VALUES('20260102-030405-abcd','1.2',1,'Second',1,'failed','wt-2',0.5,'2026-01-02T03:04:05.678000+00:00','2026-01-02T03:04:10.000000+00:00','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','patchyard/demo/batch-0','["1.1"]',NULL,NULL,'[]',3,'run','run step 1 failed',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
COMMIT;
