-- Schema of a results database, version 6: kernels of a run, as a profiler saw them.
-- SPDX-License-Identifier: Apache-2.0

-- kernel_profile: all launches of one kernel in one stage; percentiles are times that occurred. The
-- stage is the innermost range around the launch, 'outside' where there was none.
CREATE TABLE kernel_profile(
  run_id INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
  stage_id INTEGER NOT NULL REFERENCES stage,
  kernel TEXT NOT NULL,
  tool TEXT NOT NULL CHECK (tool IN ('nsys', 'ncu')),
  n INTEGER NOT NULL CHECK (n>0),
  total_ns INTEGER NOT NULL,
  min_ns INTEGER NOT NULL,
  p50_ns INTEGER NOT NULL,
  p99_ns INTEGER NOT NULL,
  max_ns INTEGER NOT NULL,
  PRIMARY KEY(run_id,stage_id,kernel,tool)
) STRICT, WITHOUT ROWID;

-- kernel_counter: a hardware counter of such a kernel under its name in the tool: the mean over the
-- n launches that have it.
CREATE TABLE kernel_counter(
  run_id INTEGER NOT NULL,
  stage_id INTEGER NOT NULL,
  kernel TEXT NOT NULL,
  tool TEXT NOT NULL,
  counter TEXT NOT NULL,
  n INTEGER NOT NULL CHECK (n>0),
  value REAL NOT NULL,
  unit TEXT NOT NULL,
  PRIMARY KEY(run_id,stage_id,kernel,tool,counter),
  FOREIGN KEY(run_id,stage_id,kernel,tool) REFERENCES kernel_profile ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
