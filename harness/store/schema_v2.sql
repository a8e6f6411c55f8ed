-- Schema of a results database, version 2: gates and the noise that they allow for.
-- SPDX-License-Identifier: Apache-2.0

-- noise_floor: how far two processes of one and the same binary differ in one number on the same
-- work in the same surroundings (sd of ln(second/first)); the newest row of a key counts. pairs
-- holds the raw [first,second] values.
CREATE TABLE noise_floor(
  floor_id INTEGER PRIMARY KEY,
  surroundings_sha256 TEXT NOT NULL,
  compare_key TEXT NOT NULL,
  side TEXT NOT NULL,
  metric TEXT NOT NULL,
  stage TEXT NOT NULL,
  n_pairs INTEGER NOT NULL CHECK (n_pairs>1),
  sd_pair REAL NOT NULL CHECK (sd_pair>=0),
  pairs TEXT NOT NULL CHECK (json_valid(pairs)),
  measured_us INTEGER NOT NULL
) STRICT;
CREATE INDEX noise_floor_key ON noise_floor(surroundings_sha256,compare_key);

-- gate: one verdict over pairs of processes of two binaries, written as running before the first
-- pair, so that one that was cut off is never a pass. identical: both sides are the same file, so
-- that block or warn is a false alarm. folder holds the results database of every process.
CREATE TABLE gate(
  gate_id INTEGER PRIMARY KEY,
  uid TEXT NOT NULL UNIQUE,
  started_us INTEGER NOT NULL,
  ended_us INTEGER,
  surroundings_sha256 TEXT,
  baseline TEXT NOT NULL CHECK (json_valid(baseline)),
  candidate TEXT NOT NULL CHECK (json_valid(candidate)),
  identical INTEGER NOT NULL CHECK (identical IN (0,1)),
  policy TEXT NOT NULL CHECK (json_valid(policy)),
  verdict TEXT NOT NULL CHECK (verdict IN ('running', 'pass', 'warn', 'inconclusive', 'incomplete',
    'block', 'not_comparable')),
  reason TEXT,
  folder TEXT NOT NULL
) STRICT;

-- gate_item: one judged number of a gate: change is candidate relative to baseline, for accuracy
-- the difference; low and high are one-sided 95 % bounds; pairs holds the raw values by block.
CREATE TABLE gate_item(
  gate_id INTEGER NOT NULL REFERENCES gate ON DELETE CASCADE,
  idx INTEGER NOT NULL,
  side TEXT NOT NULL,
  task TEXT NOT NULL,
  context_len INTEGER NOT NULL,
  metric TEXT NOT NULL,
  stage TEXT NOT NULL,
  tier TEXT NOT NULL CHECK (tier IN ('critical', 'supporting', 'advisory')),
  verdict TEXT NOT NULL CHECK (verdict IN ('same', 'better', 'worse', 'ambiguous', 'missing',
    'invalid')),
  reason TEXT NOT NULL,
  n INTEGER NOT NULL,
  baseline REAL,
  candidate REAL,
  change REAL,
  low REAL,
  high REAL,
  p REAL,
  tolerance REAL NOT NULL,
  floor_sd REAL,
  pairs TEXT NOT NULL CHECK (json_valid(pairs)),
  PRIMARY KEY(gate_id,idx)
) STRICT, WITHOUT ROWID;
