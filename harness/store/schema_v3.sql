-- Schema of a results database, version 3: sensors and ceilings.
-- SPDX-License-Identifier: Apache-2.0

-- telemetry: the sensors of the GPU at one moment of a run; event_reasons holds the driver's bits
-- for why the clock is below its maximum, mem_used the bytes that it counts for the process.
CREATE TABLE telemetry(
  run_id INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
  t_us INTEGER NOT NULL,
  sm_mhz REAL,
  mem_mhz REAL,
  power_w REAL,
  temp_c REAL,
  event_reasons INTEGER,
  mem_used INTEGER,
  PRIMARY KEY(run_id,t_us)
) STRICT, WITHOUT ROWID;

-- ceiling: what the device could do at best, measured by the run's own process before its first
-- speed cell: square, narrow and one-row products, a copy, exponentials, seconds a small kernel.
CREATE TABLE ceiling(
  run_id INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
  kind TEXT NOT NULL CHECK (kind IN ('gemm_square', 'gemm_narrow', 'gemm_row', 'mem_copy', 'exp',
    'launch')),
  value REAL NOT NULL CHECK (value>0),
  unit TEXT NOT NULL CHECK (unit IN ('FLOP/s', 'B/s', '1/s', 's')),
  PRIMARY KEY(run_id,kind)
) STRICT, WITHOUT ROWID;
