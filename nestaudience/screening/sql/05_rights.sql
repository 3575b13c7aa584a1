-- Objections, restrictions, erasures and closures, each while it stands, by subject.
CREATE OR REPLACE TABLE lift AS
SELECT r.account_token, r.controller, r.source, r.seq, r.occurred, r.recorded, r.purpose IN (1, 6) AS for_matching, r.purpose IN (4, 6) AS for_analysis
FROM rights r
WHERE r.action = 'lift_objection' AND r.purpose IN (1, 4, 6) AND usable(r.occurred, r.recorded)
  AND (r.source_kind = 'account_prefs' OR (r.source_kind IN ('support_case', 'dsr') AND r.has_case))
  AND r.event NOT IN (SELECT event FROM disputed WHERE view_name = 'rights');

CREATE OR REPLACE TABLE standing AS
SELECT r.*, s.account_token, s.controller, s.created_at
FROM reached r JOIN subject s ON s.rowid = r.subject_no
WHERE r.kind IN ('erased', 'restricted', 'objected', 'objected_analysis', 'closed');

-- Lifts that outdo an objection; the objection to matching needs a new grant as well, not earlier than the lift on either clock.
CREATE OR REPLACE TABLE lifted AS
SELECT st.subject_no, st.no_no, st.kind, l.occurred AS lift_occurred, l.recorded AS lift_recorded
FROM standing st JOIN lift l ON l.account_token = st.account_token AND l.controller = st.controller
WHERE ((st.kind = 'objected' AND l.for_matching) OR (st.kind = 'objected_analysis' AND l.for_analysis))
  AND outdoes(st.same_line AND l.source = st.source, l.seq, l.occurred, l.recorded, st.seq, st.occurred, st.recorded)
UNION ALL SELECT subject_no, no_no, kind, lifted, lifted FROM standing WHERE lifted IS NOT NULL;
CREATE OR REPLACE TABLE consented_again AS
SELECT l.subject_no, l.no_no, bit_or(y.counting) AS bits
FROM lifted l JOIN standing st USING (subject_no, no_no) JOIN yes y ON y.subject_no = l.subject_no
WHERE l.kind = 'objected' AND y.purpose = 1 AND y.counting > 0 AND y.settled
  AND y.occurred >= l.lift_occurred AND y.recorded >= l.lift_recorded
  AND outdoes(st.same_line AND y.source = st.source, y.seq, y.occurred, y.recorded, st.seq, st.occurred, st.recorded)
GROUP BY l.subject_no, l.no_no;

CREATE OR REPLACE TABLE rights_mask AS
WITH each AS (
    SELECT st.subject_no, st.remembered,
           flag(st.kind = 'erased' AND NOT coalesce(st.created_at > st.occurred AND st.created_at > st.recorded, false), r_erasure())
           | flag(st.kind = 'restricted', r_restricted()) | flag(st.kind = 'closed', r_account_closed()) AS mask,
           CASE WHEN st.kind = 'objected' THEN st.bits::INTEGER & ~coalesce(c.bits, 0)::INTEGER ELSE 0 END AS objected,
           st.kind = 'objected_analysis' AND NOT EXISTS (
               SELECT 1 FROM lifted l WHERE l.subject_no = st.subject_no AND l.no_no = st.no_no AND l.kind = 'objected_analysis') AS analysis
    FROM standing st LEFT JOIN consented_again c USING (subject_no, no_no)
), each_side AS (
    SELECT subject_no, remembered, mask | flag((objected & 1) > 0, r_objected()) AS google, mask | flag((objected & 2) > 0, r_objected()) AS meta, analysis
    FROM each
), by_memory AS (
    SELECT subject_no, coalesce(bit_or(google) FILTER (NOT remembered), 0::UBIGINT) AS google,
           coalesce(bit_or(meta) FILTER (NOT remembered), 0::UBIGINT) AS meta,
           coalesce(bool_or(analysis) FILTER (NOT remembered), false) AS analysis,
           coalesce(bit_or(google) FILTER (remembered), 0::UBIGINT) AS kept_google,
           coalesce(bit_or(meta) FILTER (remembered), 0::UBIGINT) AS kept_meta,
           coalesce(bool_or(analysis) FILTER (remembered), false) AS kept_analysis
    FROM each_side GROUP BY subject_no
)
SELECT subject_no, google | flag((kept_google & ~google) > 0, r_suppressed()) AS google, meta | flag((kept_meta & ~meta) > 0, r_suppressed()) AS meta,
       analysis, kept_analysis AND NOT analysis AS analysis_suppressed
FROM by_memory;

-- A grant to build on visits and clicks that stands: fresh, and outdoing every refusal of it, or of nobody knows what. Nobody looks for it when no
-- segment is built on them.
CREATE OR REPLACE TABLE behaviour AS
WITH given AS (
    SELECT rowid AS yes_no, * FROM yes WHERE getvariable('uses_site') AND purpose = 2 AND counting > 0 AND fresh
), refused AS (
    SELECT y.yes_no FROM given y JOIN reached n ON n.subject_no = y.subject_no AND n.kind IN ('cookies_web', 'cookies_unknown')
    WHERE NOT coalesce(outdoes(n.same_line AND y.source = n.source, y.seq, y.occurred, y.recorded, n.seq, n.occurred, n.recorded), false)
)
SELECT DISTINCT subject_no FROM given ANTI JOIN refused USING (yes_no);
