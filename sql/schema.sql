-- Whose schema it is: what is in it, and what others may put there later, runs with the rights of whoever calls
-- minion's functions. So nothing that somebody else has made is adopted. pg_dump emits CREATE SCHEMA and
-- ALTER SCHEMA … OWNER TO before CREATE EXTENSION: a schema that is there is no fault by itself.
DO $$
DECLARE
    -- Operators, too, are looked for in the path, in which the schema stands.
    path text := pg_catalog.current_setting('search_path');
    safe text := pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    own oid := pg_catalog.to_regnamespace('minion')::oid;
    owner name;
    others text;
    found text;
BEGIN
    SELECT role.rolname INTO owner
    FROM pg_catalog.pg_namespace AS namespace
    JOIN pg_catalog.pg_roles AS role ON role.oid = namespace.nspowner
    WHERE namespace.oid = own AND NOT role.rolsuper AND role.rolname <> current_user;
    IF owner IS NOT NULL THEN
        RAISE EXCEPTION 'schema minion belongs to role %, who is no superuser', owner
            USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'If nobody needs it, DROP SCHEMA minion; if it is empty, ALTER SCHEMA minion OWNER TO CURRENT_USER does.';
    END IF;

    SELECT pg_catalog.string_agg(coalesce(pg_catalog.quote_ident(role.rolname), 'PUBLIC'), ', ' ORDER BY role.rolname)
    INTO others
    FROM pg_catalog.pg_namespace AS namespace
    CROSS JOIN LATERAL pg_catalog.aclexplode(namespace.nspacl) AS acl
    LEFT JOIN pg_catalog.pg_roles AS role ON role.oid = acl.grantee
    WHERE namespace.oid = own AND acl.privilege_type = 'CREATE' AND acl.grantee <> namespace.nspowner
      AND (acl.grantee = 0 OR NOT role.rolsuper AND role.rolname <> current_user);
    IF others IS NOT NULL THEN
        RAISE EXCEPTION 'others may create objects in schema minion: %', others
            USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = pg_catalog.format('REVOKE CREATE ON SCHEMA minion FROM %s; and look at what they have put there.', others);
    END IF;

    SELECT pg_catalog.string_agg(object.type || ' ' || object.identity, ', ' ORDER BY object.type, object.identity)
    INTO found
    FROM (
        SELECT object.type, object.identity
        FROM pg_catalog.pg_depend AS depend
        CROSS JOIN LATERAL pg_catalog.pg_identify_object(depend.classid, depend.objid, depend.objsubid) AS object
        WHERE depend.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND depend.refobjid = own
          AND object.schema = 'minion'
        ORDER BY object.type, object.identity
        LIMIT 5
    ) AS object;
    IF found IS NOT NULL THEN
        RAISE EXCEPTION 'schema minion has objects that are not minion''s: %', found
            USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'Drop them, or move them to another schema.';
    END IF;

    PERFORM pg_catalog.set_config('search_path', path, true);
END
$$;
