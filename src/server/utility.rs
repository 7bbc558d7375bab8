//! Commands that a background process has to know of, or to make room for: a hook before the server does them.

use super::database;
use pgrx::prelude::*;
use std::cell::Cell;
use std::ffi::{CStr, c_char};

/// What a command is about to do. Databases are meant by their oids.
#[derive(Clone, Copy)]
pub enum Command {
    /// To drop, rename or move a database, or to copy it: nobody else may be in it.
    Alone(u32),
    /// To make databases others than they were, or to be refused that.
    Databases,
    /// To change what a process there begins with; None: in all of them.
    Settings(Option<u32>),
    /// To create, change or drop extensions.
    Extensions,
    /// To commit a transaction that was prepared.
    CommitPrepared,
}

thread_local! {
    static BEFORE: Cell<Option<fn(Command)>> = const { Cell::new(None) };
    static NEXT: Cell<pg_sys::ProcessUtility_hook_type> = const { Cell::new(None) };
}

unsafe extern "C-unwind" {
    /// The server's own. pgrx's would keep no more of an error than pgrx knows of, and the errors of all commands pass
    /// here.
    #[allow(clashing_extern_declarations, clippy::too_many_arguments)]
    fn standard_ProcessUtility(
        statement: *mut pg_sys::PlannedStmt,
        text: *const c_char,
        read_only: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        params: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        receiver: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}

/// To be called once, when the library is loaded. `before` may raise an error, which is the command's.
pub fn install(before: fn(Command)) {
    BEFORE.set(Some(before));
    // SAFETY: hooks are chained while libraries are loaded, and this one is never unloaded.
    unsafe {
        NEXT.set(pg_sys::ProcessUtility_hook);
        pg_sys::ProcessUtility_hook = Some(run);
    }
}

/// The hook. An error jumps over it, which is why nothing in it needs to be dropped.
#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn run(
    statement: *mut pg_sys::PlannedStmt,
    text: *const c_char,
    read_only: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    receiver: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: handed on as they came; the statement is there, and a node.
    unsafe {
        let node = (*statement).utilityStmt;
        if is_meant(node) {
            announce(node);
        }
        let next = NEXT.get().unwrap_or(standard_ProcessUtility);
        next(statement, text, read_only, context, params, environment, receiver, completion);
    }
}

/// Whether [`command`] is to look at a statement. Each BEGIN and COMMIT passes here.
///
/// # Safety
///
/// A statement of a utility command.
unsafe fn is_meant(node: *mut pg_sys::Node) -> bool {
    use pg_sys::NodeTag::*;
    // SAFETY: see above.
    unsafe {
        match (*node).type_ {
            T_TransactionStmt => {
                let commit = pg_sys::TransactionStmtKind::TRANS_STMT_COMMIT_PREPARED;
                (*node.cast::<pg_sys::TransactionStmt>()).kind == commit
            }
            tag => matches!(
                tag,
                T_DropdbStmt
                    | T_RenameStmt
                    | T_AlterDatabaseStmt
                    | T_CreatedbStmt
                    | T_AlterDatabaseSetStmt
                    | T_AlterRoleSetStmt
                    | T_CreateExtensionStmt
                    | T_AlterExtensionStmt
                    | T_DropStmt
                    | T_DropOwnedStmt
            ),
        }
    }
}

/// Tells of a command.
#[pg_guard]
unsafe extern "C-unwind" fn announce(node: *mut pg_sys::Node) {
    let Some(before) = BEFORE.get() else { return };
    // SAFETY: the statement that is about to be run, which is what its tag says.
    let command = unsafe { command(node) };
    if let Some(command) = command {
        before(command);
    }
}

/// # Safety
///
/// A statement of a utility command, which [`is_meant`].
unsafe fn command(node: *mut pg_sys::Node) -> Option<Command> {
    use pg_sys::NodeTag::*;
    // SAFETY: see above; names in statements are C strings.
    unsafe {
        match (*node).type_ {
            T_DropdbStmt => alone((*node.cast::<pg_sys::DropdbStmt>()).dbname),
            T_RenameStmt => {
                let rename = &*node.cast::<pg_sys::RenameStmt>();
                let is_database = rename.renameType == pg_sys::ObjectType::OBJECT_DATABASE;
                is_database.then(|| alone(rename.subname)).flatten()
            }
            T_AlterDatabaseStmt => {
                let alter = &*node.cast::<pg_sys::AlterDatabaseStmt>();
                match option(alter.options, c"tablespace") {
                    Some(_) => alone(alter.dbname),
                    None => Some(Command::Databases),
                }
            }
            T_CreatedbStmt => {
                let create = &*node.cast::<pg_sys::CreatedbStmt>();
                let template = option(create.options, c"template");
                let name = template.map_or(c"template1".as_ptr(), |one| pg_sys::defGetString(one));
                let oid = pg_sys::get_database_oid(name, true);
                Some(match may_copy(oid) {
                    true => Command::Alone(oid.into()),
                    false => Command::Databases,
                })
            }
            T_AlterDatabaseSetStmt => {
                let alter = &*node.cast::<pg_sys::AlterDatabaseSetStmt>();
                Some(Command::Settings(Some(oid_of(alter.dbname))))
            }
            T_AlterRoleSetStmt => {
                let alter = &*node.cast::<pg_sys::AlterRoleSetStmt>();
                let database = (!alter.database.is_null()).then(|| oid_of(alter.database));
                // Of all roles, or of the one that background workers are: see `bgworker::connect`.
                let is_theirs = alter.role.is_null()
                    || pg_sys::get_rolespec_oid(alter.role, true)
                        == pg_sys::BOOTSTRAP_SUPERUSERID.into();
                is_theirs.then_some(Command::Settings(database))
            }
            T_CreateExtensionStmt | T_AlterExtensionStmt | T_DropOwnedStmt => {
                Some(Command::Extensions)
            }
            T_DropStmt => {
                let kind = (*node.cast::<pg_sys::DropStmt>()).removeType;
                let kinds =
                    [pg_sys::ObjectType::OBJECT_EXTENSION, pg_sys::ObjectType::OBJECT_SCHEMA];
                kinds.contains(&kind).then_some(Command::Extensions)
            }
            T_TransactionStmt => Some(Command::CommitPrepared),
            _ => None,
        }
    }
}

/// The command on a database of the caller's; else the server says what is wrong.
///
/// # Safety
///
/// The name is a C string.
unsafe fn alone(name: *const c_char) -> Option<Command> {
    // SAFETY: see above; look-ups in the catalogue caches.
    let oid = unsafe { pg_sys::get_database_oid(name, true) };
    Some(match oid != pg_sys::InvalidOid && database::is_callers(oid.into()) {
        true => Command::Alone(oid.into()),
        false => Command::Databases,
    })
}

/// Whether the caller may make a copy of a database.
fn may_copy(oid: pg_sys::Oid) -> bool {
    oid != pg_sys::InvalidOid
        && database::may_create()
        && (database::is_template(oid.into()) || database::is_callers(oid.into()))
}

/// # Safety
///
/// The name is a C string.
unsafe fn oid_of(name: *const c_char) -> u32 {
    // SAFETY: see above; a look at the catalogue. 0 if there is none.
    unsafe { pg_sys::get_database_oid(name, true) }.into()
}

/// An option of a command, if it is given with a value.
///
/// # Safety
///
/// A list of options.
unsafe fn option(list: *mut pg_sys::List, wanted: &CStr) -> Option<*mut pg_sys::DefElem> {
    // SAFETY: see above; the list has as many elements as it says, and each has a name.
    unsafe {
        let list = list.as_ref()?;
        let option = |at| (*list.elements.add(at)).ptr_value.cast::<pg_sys::DefElem>();
        (0..list.length as usize)
            .map(option)
            .find(|one| CStr::from_ptr((**one).defname) == wanted && !(**one).arg.is_null())
    }
}
