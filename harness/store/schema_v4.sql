-- Schema of a results database, version 4: fidelity.
-- SPDX-License-Identifier: Apache-2.0

-- fidelity: how well a block-sparse layer chose its key blocks, against softmax attention over all
-- of them; means over the sampled queries of one part of a prompt: its context, or the question
-- with the answer. head -1 is the mean over KV heads. topk_recall is absent where nothing but the
-- blocks that every query reads was read, needle_hit where no needle could be asked for.
CREATE TABLE fidelity(
  run_id INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
  prompt_id INTEGER NOT NULL REFERENCES prompt,
  layer INTEGER NOT NULL,
  head INTEGER NOT NULL,
  part TEXT NOT NULL CHECK (part IN ('context', 'question')),
  n_queries INTEGER NOT NULL CHECK (n_queries>0),
  density REAL NOT NULL,
  topk_recall REAL,
  mass_recall REAL NOT NULL,
  mass_oracle REAL NOT NULL,
  needle_hit REAL,
  out_rel_l2 REAL NOT NULL,
  out_cos REAL NOT NULL,
  PRIMARY KEY(run_id,prompt_id,layer,head,part)
) STRICT, WITHOUT ROWID;

-- divergence: how far the model's logits and answer are from those of the same weights with dense
-- layers in place of block-sparse ones. kld_* in nats a position, n_pos of them, over the end of the
-- prompt and its right answer; first_pos: first output that differs, top2_gap_nats: the dense
-- model's gap between its two best tokens there. forced_score: of the answer when every query has
-- to read the needles' blocks; asked for where the model was wrong and the prompt has needles.
CREATE TABLE divergence(
  run_id INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
  prompt_id INTEGER NOT NULL REFERENCES prompt,
  n_pos INTEGER NOT NULL CHECK (n_pos>0),
  kld_mean REAL NOT NULL,
  kld_p99 REAL NOT NULL,
  kld_max REAL NOT NULL,
  top1_agree REAL NOT NULL,
  first_pos INTEGER,
  top2_gap_nats REAL,
  class TEXT NOT NULL CHECK (class IN ('identical', 'near_tie', 'between', 'hard')),
  dense_score REAL NOT NULL,
  forced_score REAL,
  PRIMARY KEY(run_id,prompt_id),
  CHECK ((first_pos IS NULL)=(class='identical')),
  CHECK ((first_pos IS NULL)=(top2_gap_nats IS NULL))
) STRICT, WITHOUT ROWID;

-- v_attribution: was the needle's block selected (half of the time or more), and was the answer
-- right? Prompts by the four cases, per run and layer; layer -1: selected by any layer.
CREATE VIEW v_attribution AS
WITH hit AS (
  SELECT run_id, prompt_id, layer, needle_hit FROM fidelity
  WHERE head=-1 AND part='question' AND needle_hit IS NOT NULL
  UNION ALL
  SELECT run_id, prompt_id, -1, MAX(needle_hit) FROM fidelity
  WHERE head=-1 AND part='question' AND needle_hit IS NOT NULL GROUP BY run_id, prompt_id
)
SELECT h.run_id, h.layer,
  SUM(h.needle_hit>=0.5 AND a.correct=1) fine,
  SUM(h.needle_hit>=0.5 AND a.correct=0) selected_unused,
  SUM(h.needle_hit<0.5 AND a.correct=0) selection_miss,
  SUM(h.needle_hit<0.5 AND a.correct=1) lucky
FROM hit h
JOIN answer a ON a.run_id=h.run_id AND a.prompt_id=h.prompt_id AND a.repeat=0
JOIN run r ON r.run_id=h.run_id
WHERE r.status='ok'
GROUP BY h.run_id, h.layer;
