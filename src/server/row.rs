//! Rows of `minion.jobs`, as triggers get them and looks into an index find them.

use super::types::{Typed, column_as, is_column};
use crate::error::Error;
use pgrx::datum::Interval;
use pgrx::enum_helper::lookup_enum_by_oid;
use pgrx::{PgTrigger, pg_sys};

/// The columns of `minion.jobs` that triggers look at, by their place in `sql/tables.sql`: looking them up
/// by name would cost more than all the rest. A test holds the two together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Id = 1,
    Delayed = 3,
    Expires = 4,
    Started = 5,
    Finished = 6,
    ParkedUntil = 9,
    WaitsFor = 10,
    Priority = 11,
    State = 14,
    Lax = 15,
    Queue = 16,
    Task = 17,
    Parents = 20,
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Delayed => "delayed",
            Self::Expires => "expires",
            Self::Started => "started",
            Self::Finished => "finished",
            Self::ParkedUntil => "parked_until",
            Self::WaitsFor => "waits_for",
            Self::Priority => "priority",
            Self::State => "state",
            Self::Lax => "lax",
            Self::Queue => "queue",
            Self::Task => "task",
            Self::Parents => "parents",
        }
    }
}

/// Where the column is in `sql/tables.sql`, that an older version has not.
const TIME_LIMIT: i32 = 23;

/// The values of `minion.job_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    Inactive,
    Active,
    Failed,
    Finished,
}

/// A row of `minion.jobs`, as long as the trigger call lasts, or the look into the table.
pub struct Row {
    tuple: *mut pg_sys::HeapTupleData,
    shape: pg_sys::TupleDesc,
}

impl Row {
    /// The row before an UPDATE or DELETE, or the one that an INSERT brings.
    pub fn first(trigger: &PgTrigger) -> Self {
        Self::new(trigger, trigger.trigger_data().tg_trigtuple)
    }

    /// The row after an UPDATE.
    pub fn second(trigger: &PgTrigger) -> Self {
        Self::new(trigger, trigger.trigger_data().tg_newtuple)
    }

    fn new(trigger: &PgTrigger, tuple: *mut pg_sys::HeapTupleData) -> Self {
        assert!(!tuple.is_null(), "the trigger is FOR EACH ROW");
        // SAFETY: the server has set the relation of every trigger call.
        let shape = unsafe { (*trigger.trigger_data().tg_relation).rd_att };
        Self::of(tuple, shape)
    }

    /// A row of `minion.jobs`, or, as long as no column is asked for, of any table.
    pub(super) fn of(tuple: *mut pg_sys::HeapTupleData, shape: pg_sys::TupleDesc) -> Self {
        Self { tuple, shape }
    }

    /// The value of a column, which has to have the type `T` in SQL.
    pub fn get<T: Typed>(&self, column: Column) -> Option<T> {
        // SAFETY: the row's shape is that of the table.
        unsafe { column_as(self.shape, column as i32, self.datum(column)) }
    }

    /// Whether two rows have the same value, as it is stored, in a column.
    pub fn has_same(&self, other: &Row, column: Column) -> bool {
        let ((one, one_null), (two, two_null)) = (self.datum(column), other.datum(column));
        if one_null || two_null {
            return one_null == two_null;
        }
        match column {
            // Those that are stored by reference.
            Column::Parents | Column::Queue | Column::Task => bytes(&one) == bytes(&two),
            _ => one.value() == two.value(),
        }
    }

    /// Whether the job has any parents, without unpacking a long list of them.
    pub fn has_parents(&self) -> bool {
        // The payload of an empty array: no dimensions, no NULLs, the element type.
        const EMPTY: usize = 12;
        let (parents, null) = self.datum(Column::Parents);
        // SAFETY: an array that is not NULL; the size is in the header, however it is stored.
        !null && unsafe { pgrx::varsize_any_exhdr(parents.cast_mut_ptr()) > EMPTY }
    }

    /// The value of a column that is NOT NULL, unless somebody has taken that away.
    pub fn required<T: Typed>(&self, column: Column) -> Result<T, Error> {
        self.get(column).ok_or(Error::NullInColumn { column: column.name() })
    }

    pub fn state(&self) -> Option<JobState> {
        let (value, is_null) = self.datum(Column::State);
        if is_null {
            return None;
        }
        match lookup_enum_by_oid(pg_sys::Oid::from(value.value() as u32)).0.as_str() {
            "inactive" => Some(JobState::Inactive),
            "active" => Some(JobState::Active),
            "failed" => Some(JobState::Failed),
            "finished" => Some(JobState::Finished),
            _ => None,
        }
    }

    pub fn is_null(&self, column: Column) -> bool {
        self.datum(column).1
    }

    /// How long an attempt may take. None also in the table of an older version, which may have columns of the user's
    /// where this one is, and an upgraded one has it behind those.
    pub fn time_limit(&self) -> Option<Interval> {
        // SAFETY: the row's shape is that of the table, and the column is one of it, and has this type.
        unsafe {
            let last = (*self.shape).natts;
            let is_it = |place: &i32| is_column::<Interval>(self.shape, *place, c"time_limit");
            let place = (TIME_LIMIT..=last).find(is_it)?;
            column_as(self.shape, place, self.at(place))
        }
    }

    fn datum(&self, column: Column) -> (pg_sys::Datum, bool) {
        // SAFETY: the column exists in every version's table.
        unsafe { self.at(column as i32) }
    }

    /// # Safety
    ///
    /// There is a column at this place.
    unsafe fn at(&self, place: i32) -> (pg_sys::Datum, bool) {
        let mut null = false;
        // SAFETY: tuple and shape belong together; see above.
        let datum = unsafe { pg_sys::heap_getattr(self.tuple, place, self.shape, &mut null) };
        (datum, null)
    }
}

/// A varlena as it is stored; a large value is a pointer to its toast, which stays the same while the value
/// does.
fn bytes(datum: &pg_sys::Datum) -> &[u8] {
    let varlena = datum.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: the header tells how long it is, and the row outlives the borrow.
    unsafe { std::slice::from_raw_parts(varlena.cast(), pgrx::varsize_any(varlena)) }
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use super::{Column, TIME_LIMIT};
    use pgrx::prelude::*;

    #[pg_test]
    fn columns_stand_where_triggers_look_for_them() {
        let columns = [
            Column::Id,
            Column::Delayed,
            Column::Expires,
            Column::Started,
            Column::Finished,
            Column::ParkedUntil,
            Column::WaitsFor,
            Column::Priority,
            Column::State,
            Column::Lax,
            Column::Queue,
            Column::Task,
            Column::Parents,
        ];
        for column in columns {
            let name = column.name();
            let place = Spi::get_one_with_args::<i16>(
                "SELECT attnum FROM pg_attribute
                WHERE attrelid = 'minion.jobs'::regclass AND attname = $1::name",
                &[name.into()],
            );
            assert_eq!(place, Ok(Some(column as i16)), "{name}");
        }
        let limit = "SELECT attnum::int FROM pg_attribute
            WHERE attrelid = 'minion.jobs'::regclass AND attname = 'time_limit'";
        assert_eq!(Spi::get_one(limit), Ok(Some(TIME_LIMIT)));
    }
}
