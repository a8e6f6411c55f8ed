-- Schema of a results database, version 1; the comment above a table is its specification.
-- SPDX-License-Identifier: Apache-2.0

-- schema_migration: one row per migration that this file has gone through.
CREATE TABLE schema_migration(
  version INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  applied_us INTEGER NOT NULL,
  tool_version TEXT NOT NULL,
  sql_sha256 TEXT NOT NULL
) STRICT;

-- machine: a host that produced rows; uid is stable over reboots.
CREATE TABLE machine(
  machine_id INTEGER PRIMARY KEY,
  uid TEXT NOT NULL UNIQUE,
  hostname TEXT NOT NULL,
  cpu_model TEXT,
  n_cores INTEGER,
  ram_bytes INTEGER,
  os TEXT,
  kernel TEXT,
  info TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(info))
) STRICT;

-- device: one GPU of a machine, by UUID; CPU runs have no device row.
CREATE TABLE device(
  device_id INTEGER PRIMARY KEY,
  machine_id INTEGER NOT NULL REFERENCES machine,
  uuid TEXT NOT NULL,
  name TEXT NOT NULL,
  sm_arch INTEGER NOT NULL,
  n_sm INTEGER NOT NULL,
  mem_bytes INTEGER NOT NULL,
  l2_bytes INTEGER NOT NULL,
  mig INTEGER NOT NULL DEFAULT 0 CHECK (mig IN (0,1)),
  vbios TEXT,
  info TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(info)),
  UNIQUE(machine_id,uuid)
) STRICT;

-- build: one binary, identified by commit, hash of uncommitted changes, compiler and flags;
-- kernel_manifest maps kernel -> source hash, tile config.
CREATE TABLE build(
  build_id INTEGER PRIMARY KEY,
  git_commit TEXT NOT NULL CHECK (length(git_commit)=40),
  git_dirty INTEGER NOT NULL CHECK (git_dirty IN (0,1)),
  diff_sha256 TEXT NOT NULL DEFAULT '',
  branch TEXT,
  version TEXT NOT NULL,
  compiler TEXT NOT NULL,
  flags TEXT NOT NULL,
  cuda_toolkit TEXT,
  committed_us INTEGER,
  kernel_manifest TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(kernel_manifest)),
  UNIQUE(git_commit,diff_sha256,compiler,flags)
) STRICT;

-- environment: everything around the binary that can move a number; env_hash covers all columns.
CREATE TABLE environment(
  env_id INTEGER PRIMARY KEY,
  env_hash TEXT NOT NULL UNIQUE,
  machine_id INTEGER NOT NULL REFERENCES machine,
  build_id INTEGER NOT NULL REFERENCES build,
  driver TEXT,
  cuda_runtime TEXT,
  clock_policy TEXT NOT NULL CHECK (clock_policy IN ('free', 'locked_base', 'locked_max',
    'locked_custom', 'unknown')),
  power_limit_w REAL,
  persistence INTEGER,
  ecc INTEGER,
  cpu_governor TEXT,
  container TEXT,
  info TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(info))
) STRICT;

-- model: weights, tokenizer and dtype by content hash, with the layer pattern
-- ["sparse","linear",…].
CREATE TABLE model(
  model_id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  weights_sha256 TEXT NOT NULL,
  tokenizer_sha256 TEXT NOT NULL,
  dtype TEXT NOT NULL,
  n_layers INTEGER NOT NULL,
  layer_pattern TEXT NOT NULL CHECK (json_valid(layer_pattern)),
  config TEXT NOT NULL CHECK (json_valid(config)),
  UNIQUE(weights_sha256,tokenizer_sha256,dtype)
) STRICT;

-- task: a generator plus scorer, both versioned; a changed template or scorer is a new row.
CREATE TABLE task(
  task_id INTEGER PRIMARY KEY,
  family TEXT NOT NULL,
  version INTEGER NOT NULL,
  scorer TEXT NOT NULL,
  scorer_version INTEGER NOT NULL,
  params TEXT NOT NULL CHECK (json_valid(params)),
  params_sha256 TEXT NOT NULL,
  UNIQUE(family,version,scorer,scorer_version,params_sha256)
) STRICT;

-- prompt: one generated prompt, a pure function of task version, seed, length and sample index; only
-- hash and geometry are here; cluster names its haystack or article.
CREATE TABLE prompt(
  prompt_id INTEGER PRIMARY KEY,
  task_id INTEGER NOT NULL REFERENCES task,
  tokens_sha256 TEXT NOT NULL,
  target_len INTEGER NOT NULL,
  n_tokens INTEGER NOT NULL,
  gen_budget INTEGER NOT NULL CHECK (n_tokens+gen_budget<=target_len),
  depth_pct REAL CHECK (depth_pct BETWEEN 0 AND 100),
  cluster TEXT NOT NULL,
  seed INTEGER NOT NULL,
  answer TEXT NOT NULL CHECK (json_valid(answer)),
  sample_index INTEGER NOT NULL,
  UNIQUE(task_id,seed,target_len,sample_index,tokens_sha256)
) STRICT;

-- prompt_needle: token span of every needle, verified after tokenisation.
CREATE TABLE prompt_needle(
  prompt_id INTEGER NOT NULL REFERENCES prompt ON DELETE CASCADE,
  idx INTEGER NOT NULL,
  tok_begin INTEGER NOT NULL,
  tok_end INTEGER NOT NULL CHECK (tok_end>tok_begin),
  PRIMARY KEY(prompt_id,idx)
) STRICT, WITHOUT ROWID;

-- sweep: one plan, as the merged configuration that produced it.
CREATE TABLE sweep(
  sweep_id INTEGER PRIMARY KEY,
  uid TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  created_us INTEGER NOT NULL,
  spec TEXT NOT NULL CHECK (json_valid(spec)),
  spec_sha256 TEXT NOT NULL
) STRICT;

-- cell: one planned point and the unit of resume; cell_key defines the work, compare_key is
-- cell_key without {mode, build, kind}.
CREATE TABLE cell(
  cell_id INTEGER PRIMARY KEY,
  sweep_id INTEGER NOT NULL REFERENCES sweep ON DELETE CASCADE,
  cell_key TEXT NOT NULL,
  compare_key TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('perf', 'accuracy', 'fidelity', 'profile', 'aa')),
  mode TEXT NOT NULL CHECK (mode IN ('hybrid', 'full', 'sparse', 'linear', 'ablation')),
  backend TEXT NOT NULL CHECK (backend IN ('cpu', 'cuda')),
  model_id INTEGER NOT NULL REFERENCES model,
  task_id INTEGER REFERENCES task,
  context_len INTEGER NOT NULL,
  batch INTEGER NOT NULL DEFAULT 1,
  params TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(params)),
  want_runs INTEGER NOT NULL DEFAULT 1 CHECK (want_runs>0),
  est_bytes INTEGER,
  est_seconds REAL,
  UNIQUE(sweep_id,cell_key)
) STRICT;

-- run: one attempt of one cell in one process, resumed by a further run that takes what is missing;
-- scheduler names the process ({"process":{...}}), by which a later one sees that it is gone; pairs of a comparison share pair_uid; digest is the
-- sha256 over all its rows, set at finish.
CREATE TABLE run(
  run_id INTEGER PRIMARY KEY,
  uid TEXT NOT NULL UNIQUE,
  cell_id INTEGER NOT NULL REFERENCES cell,
  attempt INTEGER NOT NULL,
  grade TEXT NOT NULL CHECK (grade IN ('smoke', 'probe', 'measured', 'reference')),
  env_id INTEGER NOT NULL REFERENCES environment,
  device_id INTEGER REFERENCES device,
  pair_uid TEXT,
  pair_side TEXT CHECK (pair_side IN ('A', 'B')),
  pair_seq INTEGER,
  pair_block INTEGER CHECK (pair_block IN (0,1)),
  status TEXT NOT NULL CHECK (status IN ('running', 'ok', 'oom', 'timeout', 'numerics',
    'error', 'invalid', 'skipped', 'killed')),
  status_reason TEXT,
  started_us INTEGER NOT NULL,
  heartbeat_us INTEGER,
  ended_us INTEGER,
  argv TEXT NOT NULL CHECK (json_valid(argv)),
  scheduler TEXT CHECK (scheduler IS NULL OR json_valid(scheduler)),
  flags INTEGER NOT NULL DEFAULT 0,
  digest TEXT,
  CHECK (status IN ('ok', 'running') OR status_reason IS NOT NULL)
) STRICT;
CREATE INDEX run_cell ON run(cell_id,status);
CREATE INDEX run_pair ON run(pair_uid) WHERE pair_uid IS NOT NULL;

-- metric: registry of every metric name with its unit and which direction is better.
CREATE TABLE metric(
  metric_id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  unit TEXT NOT NULL,
  better TEXT NOT NULL CHECK (better IN ('lower', 'higher', 'none'))
) STRICT;

-- stage: registry of stages; 0 is the whole run and every other name equals an NVTX range text.
CREATE TABLE stage(
  stage_id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  parent_id INTEGER REFERENCES stage,
  layer_kind TEXT
) STRICT;

-- sample: raw values, append-only; pos is the token position (prefill) or output index (decode),
-- -1 if there is none.
CREATE TABLE sample(
  run_id INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
  metric_id INTEGER NOT NULL REFERENCES metric,
  stage_id INTEGER NOT NULL REFERENCES stage,
  rep INTEGER NOT NULL,
  pos INTEGER NOT NULL DEFAULT -1,
  value REAL NOT NULL CHECK (value BETWEEN -1e308 AND 1e308),
  flags INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY(run_id,metric_id,stage_id,rep,pos)
) STRICT, WITHOUT ROWID;

-- memory_ledger: bytes by phase and category; only at_device_peak_bytes may be summed over
-- categories.
CREATE TABLE memory_ledger(
  run_id INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
  phase TEXT NOT NULL,
  category TEXT NOT NULL CHECK (category IN ('weights', 'kv_full', 'kv_sparse',
    'sparse_index', 'linear_state', 'activations', 'workspace', 'logits', 'graph',
    'allocator_slack', 'context', 'unaccounted', 'host_pinned', 'host_pageable')),
  planned_bytes INTEGER,
  live_bytes INTEGER NOT NULL,
  peak_bytes INTEGER NOT NULL,
  at_device_peak_bytes INTEGER NOT NULL,
  PRIMARY KEY(run_id,phase,category)
) STRICT, WITHOUT ROWID;

-- route: proof of activity, i.e. the path and kernel that each layer really executed.
CREATE TABLE route(
  run_id INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
  layer INTEGER NOT NULL,
  phase TEXT NOT NULL CHECK (phase IN ('prefill', 'decode')),
  path TEXT NOT NULL,
  kernel TEXT NOT NULL,
  n_calls INTEGER NOT NULL,
  blocks_read INTEGER,
  blocks_visible INTEGER,
  PRIMARY KEY(run_id,layer,phase,path,kernel)
) STRICT, WITHOUT ROWID;

-- oom_event: what was asked for, by which category and stage, and what was free when memory ran
-- out (or was predicted to).
CREATE TABLE oom_event(
  run_id INTEGER PRIMARY KEY REFERENCES run ON DELETE CASCADE,
  stage_id INTEGER REFERENCES stage,
  category TEXT NOT NULL,
  requested_bytes INTEGER NOT NULL,
  free_bytes INTEGER,
  largest_block INTEGER,
  position INTEGER,
  predicted INTEGER NOT NULL DEFAULT 0 CHECK (predicted IN (0,1))
) STRICT;

-- answer: one model output with score, class of error and timing.
CREATE TABLE answer(
  run_id INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
  prompt_id INTEGER NOT NULL REFERENCES prompt,
  repeat INTEGER NOT NULL DEFAULT 0,
  output TEXT NOT NULL,
  output_tokens_sha256 TEXT NOT NULL,
  n_out INTEGER NOT NULL,
  finish TEXT NOT NULL CHECK (finish IN ('eos', 'length', 'stop', 'error')),
  score REAL NOT NULL CHECK (score BETWEEN 0 AND 1),
  correct INTEGER NOT NULL CHECK (correct IN (0,1)),
  error_class TEXT CHECK (error_class IN ('miss', 'garbled', 'truncated', 'format', 'empty',
    'refusal', 'run_failed')),
  edit_distance INTEGER,
  gold_nll REAL,
  scorer_detail TEXT CHECK (scorer_detail IS NULL OR json_valid(scorer_detail)),
  ttft_ns INTEGER,
  total_ns INTEGER,
  PRIMARY KEY(run_id,prompt_id,repeat),
  CHECK ((error_class IS NULL)=(correct=1))
) STRICT, WITHOUT ROWID;

-- v_paired_accuracy: discordant pairs of any two accuracy runs on equal work; filter by run, mode
-- or build. Answers of killed runs count, because the run that resumes the cell leaves them out.
CREATE VIEW v_paired_accuracy AS
SELECT c1.compare_key, t.family, p.target_len, p.depth_pct,
  a0.run_id base_run, a1.run_id cand_run, c0.mode base_mode, c1.mode cand_mode,
  e0.build_id base_build, e1.build_id cand_build, COUNT(*) n,
  SUM(a0.correct) base_ok, SUM(a1.correct) cand_ok,
  SUM(a0.correct=1 AND a1.correct=0) b10, SUM(a0.correct=0 AND a1.correct=1) b01
FROM answer a0
JOIN answer a1 ON a1.prompt_id=a0.prompt_id AND a1.repeat=a0.repeat AND a1.run_id<>a0.run_id
JOIN run r0 ON r0.run_id=a0.run_id
JOIN cell c0 ON c0.cell_id=r0.cell_id
JOIN environment e0 ON e0.env_id=r0.env_id
JOIN run r1 ON r1.run_id=a1.run_id
JOIN cell c1 ON c1.cell_id=r1.cell_id
JOIN environment e1 ON e1.env_id=r1.env_id
JOIN prompt p ON p.prompt_id=a0.prompt_id
JOIN task t ON t.task_id=p.task_id
WHERE c0.compare_key=c1.compare_key AND c0.kind='accuracy' AND c1.kind='accuracy'
  AND r0.status IN ('ok','oom','numerics','killed') AND r1.status IN ('ok','oom','numerics','killed')
GROUP BY a0.run_id, a1.run_id, p.task_id, p.target_len, p.depth_pct;

-- v_max_context: largest length that worked and smallest that ran out of memory.
CREATE VIEW v_max_context AS
SELECT r.device_id, c.model_id, c.mode, c.batch, c.params,
  MAX(c.context_len) FILTER(WHERE r.status='ok') max_ok,
  MIN(c.context_len) FILTER(WHERE r.status='oom') min_oom
FROM run r JOIN cell c USING(cell_id)
GROUP BY 1,2,3,4,5;

INSERT INTO stage VALUES(0,'total',NULL,NULL);
