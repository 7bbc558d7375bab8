-- What the schema consists of: the part that callers build upon.
SET IntervalStyle = 'postgres';
SET search_path = pg_catalog;
CREATE TEMP VIEW api AS
SELECT *
FROM pg_proc
WHERE pronamespace = 'minion'::regnamespace
  AND prorettype <> 'trigger'::regtype
  AND proname <> 'is_unresolved';
CREATE TEMP VIEW relation AS
SELECT oid, relname, relkind, relpersistence
FROM pg_class
WHERE relnamespace = 'minion'::regnamespace AND relkind IN ('r', 'S', 'v');

-- The functions: names, arguments, defaults and results.
\pset format unaligned
\pset tuples_only on
SELECT format(E'%s(%s)\n  %s', proname, pg_get_function_arguments(oid), pg_get_function_result(oid))
FROM api
ORDER BY proname COLLATE "C";
\pset tuples_only off
\pset format aligned

-- There are no overloads.
SELECT proname, count(*) FROM api GROUP BY proname HAVING count(*) > 1;

-- No function that is called by people is STRICT: NULL is an error and never a silent NULL.
SELECT proname FROM api WHERE pronargs > 0 AND proisstrict;

-- The states.
SELECT enumlabel FROM pg_enum WHERE enumtypid = 'minion.job_state'::regtype ORDER BY enumsortorder;

-- The columns of the tables, which are open to plain SQL.
SELECT relname, attname, format_type(atttypid, atttypmod) AS type, attnotnull AS required,
    pg_get_expr(adbin, adrelid) AS default
FROM relation
JOIN pg_attribute ON attrelid = relation.oid
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relkind = 'r' AND attnum > 0 AND NOT attisdropped
ORDER BY relname COLLATE "C", attname COLLATE "C";

-- Every function, every table, every column and the type has a comment.
SELECT proname FROM api WHERE obj_description(oid, 'pg_proc') IS NULL ORDER BY proname COLLATE "C";
SELECT relname
FROM relation
WHERE relkind <> 'S' AND obj_description(oid, 'pg_class') IS NULL
ORDER BY relname COLLATE "C";
SELECT relname, attname
FROM relation
JOIN pg_attribute ON attrelid = relation.oid
WHERE relkind <> 'S' AND attnum > 0 AND NOT attisdropped AND col_description(attrelid, attnum) IS NULL
ORDER BY relname COLLATE "C", attname COLLATE "C";
SELECT typname FROM pg_type WHERE oid = 'minion.job_state'::regtype AND obj_description(oid, 'pg_type') IS NULL;

-- No table is UNLOGGED: a crash loses nothing.
SELECT relname FROM relation WHERE relpersistence <> 'p';

-- pg_dump carries the rows of every table and the value of every sequence; only the children are worked out
-- from the jobs when these are restored.
SELECT relname
FROM relation
WHERE relkind IN ('r', 'S')
  AND NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'minion' AND relation.oid = ANY (extconfig));

DROP VIEW api, relation;
