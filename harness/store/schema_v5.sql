-- Schema of a results database, version 5: views for those who ask the database directly. They
-- leave out what reports leave out: invalid runs, flagged samples and warm-ups.
-- SPDX-License-Identifier: Apache-2.0

-- v_cell: one row a planned point, in words; status as in reports: ok, or that of the last attempt.
CREATE VIEW v_cell AS
SELECT c.cell_id, w.uid sweep, w.name sweep_name, c.kind, c.mode, c.backend,
  json_extract(c.params,'$.device_name') device, m.name model, m.dtype,
  json_extract(c.params,'$.side') side, json_extract(c.params,'$.settings') settings,
  COALESCE(t.family, json_extract(c.params,'$.prompt')) task,
  json_extract(t.params,'$.mode') task_mode, t.scorer, c.context_len,
  (SELECT b.git_commit FROM run r JOIN environment USING(env_id) JOIN build b USING(build_id)
    WHERE r.cell_id=c.cell_id LIMIT 1) git_commit,
  COALESCE((SELECT 'ok' FROM run r WHERE r.cell_id=c.cell_id AND r.status='ok'),
    (SELECT r.status FROM run r WHERE r.cell_id=c.cell_id ORDER BY r.attempt DESC, r.run_id DESC),
    'planned') status
FROM cell c JOIN sweep w USING(sweep_id) JOIN model m USING(model_id)
  LEFT JOIN task t USING(task_id);

-- v_flat: every metric of every run, one row a run, stage and metric; n counts the raw samples.
CREATE VIEW v_flat AS
WITH placed AS (
  SELECT run_id, metric_id, stage_id, value,
    ROW_NUMBER() OVER (PARTITION BY run_id, metric_id, stage_id ORDER BY value) place,
    COUNT(*) OVER (PARTITION BY run_id, metric_id, stage_id) n
  FROM sample WHERE rep>=0 AND flags=0)
SELECT v.*, r.uid run, r.status run_status, r.grade, r.started_us, g.name stage, k.name metric,
  k.unit, k.better, p.n,
  AVG(p.value) FILTER(WHERE p.place IN ((p.n+1)/2, p.n/2+1)) median,
  MIN(p.value) lowest, MAX(p.value) highest
FROM placed p JOIN run r USING(run_id) JOIN v_cell v USING(cell_id) JOIN metric k USING(metric_id)
  JOIN stage g USING(stage_id)
WHERE r.status<>'invalid'
GROUP BY p.run_id, p.metric_id, p.stage_id;

-- v_accuracy: right answers and mean score, one row an accuracy cell, all of its attempts together;
-- of a prompt answered twice the later answer stands, and failed counts the misses that never ran.
CREATE VIEW v_accuracy AS
WITH placed AS (
  SELECT r.cell_id, a.score, a.correct, a.error_class,
    ROW_NUMBER() OVER (PARTITION BY r.cell_id, a.prompt_id, a.repeat
      ORDER BY r.attempt DESC, r.run_id DESC) place
  FROM answer a JOIN run r USING(run_id) WHERE r.status<>'invalid')
SELECT v.*, COUNT(*) n, SUM(p.correct) correct, SUM(p.error_class IS 'run_failed') failed,
  AVG(p.score) score
FROM placed p JOIN v_cell v USING(cell_id)
WHERE p.place=1 AND v.kind='accuracy' AND v.scorer<>'perplexity'
GROUP BY v.cell_id;

-- v_speed: medians of the times and the largest peak, one row a cell, all of its attempts together;
-- n counts the times to first token.
CREATE VIEW v_speed AS
WITH placed AS (
  SELECT r.cell_id, k.name metric, s.value,
    ROW_NUMBER() OVER (PARTITION BY r.cell_id, s.metric_id ORDER BY s.value) place,
    COUNT(*) OVER (PARTITION BY r.cell_id, s.metric_id) n
  FROM sample s JOIN run r USING(run_id) JOIN metric k USING(metric_id)
  WHERE r.status<>'invalid' AND s.rep>=0 AND s.flags=0
    AND k.name IN ('ttft_ns','prefill_tok_s','tpot_ns','device_peak_bytes')),
number AS (
  SELECT cell_id, metric, n, MAX(value) highest,
    AVG(value) FILTER(WHERE place IN ((n+1)/2, n/2+1)) median
  FROM placed GROUP BY cell_id, metric)
SELECT v.*, COALESCE(MAX(x.n) FILTER(WHERE x.metric='ttft_ns'),0) n,
  MAX(x.median) FILTER(WHERE x.metric='ttft_ns') ttft_ns,
  MAX(x.median) FILTER(WHERE x.metric='prefill_tok_s') prefill_tok_s,
  MAX(x.median) FILTER(WHERE x.metric='tpot_ns') tpot_ns,
  CAST(MAX(x.highest) FILTER(WHERE x.metric='device_peak_bytes') AS INTEGER) device_peak_bytes
FROM number x JOIN v_cell v USING(cell_id)
WHERE v.kind IN ('perf','accuracy')
GROUP BY v.cell_id;

-- v_memory_reconcile: what was planned, what the ledger held at the device's peak, and what the
-- driver counts beyond it; one row a run and phase, NULL where the driver says nothing.
CREATE VIEW v_memory_reconcile AS
SELECT v.*, r.uid run, l.phase,
  SUM(l.planned_bytes) FILTER(WHERE l.category NOT LIKE 'host%') planned_bytes,
  SUM(l.at_device_peak_bytes) FILTER(WHERE l.category NOT LIKE 'host%'
    AND l.category NOT IN ('context','unaccounted')) ledger_bytes,
  SUM(l.at_device_peak_bytes) FILTER(WHERE l.category='context') context_bytes,
  SUM(l.at_device_peak_bytes) FILTER(WHERE l.category='unaccounted') unaccounted_bytes,
  CASE WHEN SUM(l.category='unaccounted')>0
    THEN SUM(l.at_device_peak_bytes) FILTER(WHERE l.category NOT LIKE 'host%') END driver_bytes
FROM memory_ledger l JOIN run r USING(run_id) JOIN v_cell v USING(cell_id)
WHERE r.status<>'invalid'
GROUP BY r.run_id, l.phase;

-- v_max_context: longest context that worked and shortest that ran out of memory, by what decides
-- it: model, mode, device, settings, chunk and limit.
DROP VIEW v_max_context;
CREATE VIEW v_max_context AS
SELECT v.model, v.dtype, v.mode, v.backend, v.device, v.settings,
  json_extract(c.params,'$.chunk') chunk, json_extract(c.params,'$.memory_limit') memory_limit,
  MAX(c.context_len) FILTER(WHERE v.status='ok') max_ok,
  MIN(c.context_len) FILTER(WHERE v.status='oom') min_oom
FROM cell c JOIN v_cell v USING(cell_id)
WHERE v.status IN ('ok','oom')
GROUP BY c.model_id, v.mode, v.backend, v.device, v.settings, chunk, memory_limit;
