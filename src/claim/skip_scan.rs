//! Which lanes have jobs, asked of the indexes: from the first entry of a lane to that of the next one.

use super::lane::{blocked, head, misplaced, parked, ready};
use crate::server::statement::Statement;
use pgrx::pg_sys;

/// A skip scan: the first entry of the first lane of each queue, then of the lane after it, and so on.
pub static READY_OF_QUEUES: Statement = Statement::new(
    concat!(
        "WITH RECURSIVE head AS (
            SELECT first.*
            FROM pg_catalog.unnest($2) AS wanted (queue)
            CROSS JOIN LATERAL (
                SELECT ",
        head!(),
        " FROM minion.jobs AS job
                WHERE ",
        ready!(),
        " AND job.queue = wanted.queue
                ORDER BY job.queue, job.task, ~job.priority, job.id
                LIMIT 1
            ) AS first
          UNION ALL
            SELECT next.*
            FROM head
            CROSS JOIN LATERAL (
                SELECT ",
        head!(),
        " FROM minion.jobs AS job
                WHERE ",
        ready!(),
        " AND job.queue = head.queue AND job.task > head.task
                ORDER BY job.queue, job.task, ~job.priority, job.id
                LIMIT 1
            ) AS next
        )
        SELECT queue, task, rank, id, misplaced FROM head WHERE rank <= $3"
    ),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::TEXTARRAYOID, pg_sys::INT4OID],
)
.in_index_order();

pub static READY_OF_TASKS: Statement = Statement::new(
    concat!(
        "SELECT head.queue, head.task, head.rank, head.id, head.misplaced
        FROM pg_catalog.unnest($2) AS wanted (queue)
        CROSS JOIN pg_catalog.unnest($4) AS asked (task)
        CROSS JOIN LATERAL (
            SELECT ",
        head!(),
        " FROM minion.jobs AS job
            WHERE ",
        ready!(),
        " AND job.queue = wanted.queue AND job.task = asked.task
            ORDER BY ~job.priority, job.id
            LIMIT 1
        ) AS head
        WHERE head.rank <= $3"
    ),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::TEXTARRAYOID, pg_sys::INT4OID, pg_sys::TEXTARRAYOID],
)
.in_index_order();

/// The same skip scan over the parked jobs, for when the first one of each lane is due.
pub static PARKED_OF_QUEUES: Statement = Statement::new(
    concat!(
        "WITH RECURSIVE head AS (
            SELECT first.*
            FROM pg_catalog.unnest($1) AS wanted (queue)
            CROSS JOIN LATERAL (
                SELECT job.queue, job.task, job.parked_until
                FROM minion.jobs AS job
                WHERE ",
        parked!(),
        " AND job.queue = wanted.queue
                ORDER BY job.queue, job.task, job.parked_until
                LIMIT 1
            ) AS first
          UNION ALL
            SELECT next.*
            FROM head
            CROSS JOIN LATERAL (
                SELECT job.queue, job.task, job.parked_until
                FROM minion.jobs AS job
                WHERE ",
        parked!(),
        " AND job.queue = head.queue AND job.task > head.task
                ORDER BY job.queue, job.task, job.parked_until
                LIMIT 1
            ) AS next
        )
        SELECT DISTINCT queue, task, parked_until FROM head WHERE parked_until < 'infinity'"
    ),
    &[pg_sys::TEXTARRAYOID],
)
.in_index_order();

pub static PARKED_OF_TASKS: Statement = Statement::new(
    concat!(
        "SELECT DISTINCT head.queue, head.task, head.parked_until
        FROM pg_catalog.unnest($1) AS wanted (queue)
        CROSS JOIN pg_catalog.unnest($2) AS asked (task)
        CROSS JOIN LATERAL (
            SELECT job.queue, job.task, job.parked_until
            FROM minion.jobs AS job
            WHERE ",
        parked!(),
        " AND job.queue = wanted.queue AND job.task = asked.task
            ORDER BY job.parked_until
            LIMIT 1
        ) AS head
        WHERE head.parked_until < 'infinity'"
    ),
    &[pg_sys::TEXTARRAYOID, pg_sys::TEXTARRAYOID],
)
.in_index_order();

/// The lanes of a queue that have any job that is ready or parked.
pub static TASKS_OF_QUEUE: Statement = Statement::new(
    concat!(
        "WITH RECURSIVE of_ready AS (
            (SELECT job.task
            FROM minion.jobs AS job
            WHERE ",
        ready!(),
        " AND job.queue = $1
            ORDER BY job.queue, job.task
            LIMIT 1)
          UNION ALL
            SELECT next.task
            FROM of_ready
            CROSS JOIN LATERAL (
                SELECT job.task
                FROM minion.jobs AS job
                WHERE ",
        ready!(),
        " AND job.queue = $1 AND job.task > of_ready.task
                ORDER BY job.queue, job.task
                LIMIT 1
            ) AS next
        ), of_parked AS (
            (SELECT job.task
            FROM minion.jobs AS job
            WHERE ",
        parked!(),
        " AND job.queue = $1
            ORDER BY job.queue, job.task
            LIMIT 1)
          UNION ALL
            SELECT next.task
            FROM of_parked
            CROSS JOIN LATERAL (
                SELECT job.task
                FROM minion.jobs AS job
                WHERE ",
        parked!(),
        " AND job.queue = $1 AND job.task > of_parked.task
                ORDER BY job.queue, job.task
                LIMIT 1
            ) AS next
        )
        SELECT task FROM of_ready UNION ALL SELECT task FROM of_parked"
    ),
    &[pg_sys::TEXTOID],
)
.in_index_order();
