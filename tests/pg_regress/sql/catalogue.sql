-- What the schema consists of: the part that callers build upon.
SET IntervalStyle = 'postgres';
SET search_path = pg_catalog;

-- The functions that are not for callers.
CREATE TEMP VIEW internal AS
SELECT oid, proname
FROM pg_proc
WHERE pronamespace = 'minion'::regnamespace
  AND (prorettype = 'trigger'::regtype OR proname IN ('is_unresolved', 'place'));
SELECT proname FROM internal ORDER BY proname COLLATE "C";

CREATE TEMP VIEW public_functions AS
SELECT *
FROM pg_proc
WHERE pronamespace = 'minion'::regnamespace AND oid NOT IN (SELECT oid FROM internal);

-- The API: names, arguments, defaults and results.
\pset format unaligned
\pset tuples_only on
SELECT format(E'%s(%s)\n  %s', proname, pg_get_function_arguments(oid), pg_get_function_result(oid))
FROM public_functions
ORDER BY proname COLLATE "C";
\pset tuples_only off
\pset format aligned

-- There are no overloads.
SELECT proname, count(*) FROM public_functions GROUP BY proname HAVING count(*) > 1;

-- No function is STRICT: NULL is an error and never a silent NULL.
SELECT proname FROM public_functions WHERE proisstrict;

-- Every function of the API, every table, every column of one that callers see, and the type has a comment.
SELECT proname FROM public_functions WHERE obj_description(oid, 'pg_proc') IS NULL ORDER BY proname COLLATE "C";
SELECT relname
FROM pg_class
WHERE relnamespace = 'minion'::regnamespace AND relkind = 'r' AND obj_description(oid, 'pg_class') IS NULL
ORDER BY relname COLLATE "C";
SELECT typname FROM pg_type WHERE oid = 'minion.job_state'::regtype AND obj_description(oid, 'pg_type') IS NULL;

-- The states.
SELECT enumlabel FROM pg_enum WHERE enumtypid = 'minion.job_state'::regtype ORDER BY enumsortorder;

-- The columns of the tables, which are open to plain SQL.
SELECT relname, attname, format_type(atttypid, atttypmod) AS type, attnotnull AS required,
    pg_get_expr(adbin, adrelid) AS default
FROM pg_class
JOIN pg_attribute ON attrelid = pg_class.oid
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relnamespace = 'minion'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
ORDER BY relname COLLATE "C", attname COLLATE "C";

-- No table is UNLOGGED: a crash loses nothing.
SELECT relname FROM pg_class WHERE relnamespace = 'minion'::regnamespace AND relpersistence <> 'p';

-- pg_dump carries every table and every sequence.
SELECT relname
FROM pg_class
WHERE relnamespace = 'minion'::regnamespace AND relkind IN ('r', 'S')
  AND oid <> ALL ((SELECT extconfig FROM pg_extension WHERE extname = 'minion')::oid[]);

-- Everything in the schema belongs to the extension.
SELECT classid::regclass, count(*)
FROM (
    SELECT 'pg_proc'::regclass AS classid, oid FROM pg_proc WHERE pronamespace = 'minion'::regnamespace
  UNION ALL
    SELECT 'pg_class', oid FROM pg_class WHERE relnamespace = 'minion'::regnamespace AND relkind IN ('r', 'S', 'v')
  UNION ALL
    SELECT 'pg_type', oid FROM pg_type WHERE typnamespace = 'minion'::regnamespace AND typtype = 'e'
) AS object
WHERE NOT EXISTS (
    SELECT
    FROM pg_depend
    WHERE pg_depend.classid = object.classid AND objid = object.oid AND deptype = 'e'
      AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'minion'))
GROUP BY classid;

DROP VIEW public_functions, internal;
