//! Where a function of ours is called from.

use super::transaction::in_transaction_block;
use pgrx::pg_sys;

/// Whether all that a call locks is given back as soon as it returns: it is the whole of a statement that is
/// a transaction of its own. Inside of functions, DO blocks and procedures, beside other parts of a larger
/// statement, and in a pipeline, what is locked stays locked for longer. (The first statement of a pipeline
/// can't know that others follow.)
pub fn is_whole_transaction(call: pg_sys::FunctionCallInfo) -> bool {
    const PIPELINING: i32 = pg_sys::XACT_FLAGS_PIPELINING as i32;
    // SAFETY: reads the backend's state and what the server has handed us; each pointer is looked at before it
    // is followed, and the node tags say what is behind it.
    unsafe {
        if in_transaction_block() || pg_sys::MyXactFlags & PIPELINING != 0 {
            return false;
        }
        let Some(set) = (*call).resultinfo.cast::<pg_sys::ReturnSetInfo>().as_ref() else {
            return false;
        };
        let is_set = set.type_ == pg_sys::NodeTag::T_ReturnSetInfo;
        let Some(context) = set.econtext.as_ref().filter(|_| is_set) else { return false };
        let Some(query) = context.ecxt_estate.as_ref() else { return false };
        let Some(portal) = pg_sys::ActivePortal.as_ref() else { return false };
        // A cursor has a name, and runs inside of something. What a function runs has a text of its own; the
        // client's statement, also under EXPLAIN, that of its portal.
        let of_client = *portal.name == 0 && query.es_sourceText == portal.sourceText;
        of_client && is_one_call(query.es_plannedstmt)
    }
}

/// Whether a statement only calls functions, and shows what they return.
unsafe fn is_one_call(statement: *const pg_sys::PlannedStmt) -> bool {
    // SAFETY: the plan of the statement that runs.
    unsafe {
        let Some(statement) = statement.as_ref() else { return false };
        let mut plan = statement.planTree;
        while let Some(node) = plan.as_ref() {
            match node.type_ {
                pg_sys::NodeTag::T_FunctionScan => break,
                pg_sys::NodeTag::T_Result
                | pg_sys::NodeTag::T_ProjectSet
                | pg_sys::NodeTag::T_Limit
                | pg_sys::NodeTag::T_Sort
                | pg_sys::NodeTag::T_Agg => plan = node.lefttree,
                _ => return false,
            }
        }
        let is_select = statement.commandType == pg_sys::CmdType::CMD_SELECT;
        is_select && statement.subplans.is_null() && !statement.hasModifyingCTE
    }
}
