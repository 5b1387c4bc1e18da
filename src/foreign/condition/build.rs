//! Conditions from a plan's expressions.

use std::cell::Cell;

use pgrx::pg_sys::{self, Datum, Oid};

use super::{Comparison, Condition, Element, Exact, Form, Kind, Order, Subject, Value};
use crate::fdw::filter::Test;
use crate::pg::list::members;
use crate::pg::{catalog, encoding};

impl Subject {
    /// # Safety
    /// An expression over the relation's columns.
    pub(super) unsafe fn condition(&self, node: *mut pg_sys::Node) -> Condition {
        // SAFETY: each node is of the type that its tag says.
        unsafe {
            match (*node).type_ {
                pg_sys::NodeTag::T_OpExpr => self.comparison(node.cast()),
                pg_sys::NodeTag::T_ScalarArrayOpExpr => self.any_of(node.cast()),
                pg_sys::NodeTag::T_FuncExpr => {
                    let node = node.cast::<pg_sys::FuncExpr>();
                    let arguments = members::<pg_sys::Node>((*node).args);
                    let begins = self.begins((*node).funcid, &arguments, (*node).inputcollid, None);
                    begins.unwrap_or(Condition::Unknown)
                }
                pg_sys::NodeTag::T_BoolExpr => {
                    let node = node.cast::<pg_sys::BoolExpr>();
                    let parts = members::<pg_sys::Node>((*node).args).into_iter();
                    let parts: Vec<Condition> = parts.map(|part| self.condition(part)).collect();
                    let unknown = |part: &Condition| matches!(part, Condition::Unknown);
                    match (*node).boolop {
                        pg_sys::BoolExprType::AND_EXPR if !parts.iter().all(unknown) => Condition::All(parts),
                        pg_sys::BoolExprType::OR_EXPR if !parts.iter().any(unknown) => Condition::Any(parts),
                        pg_sys::BoolExprType::NOT_EXPR => match members::<pg_sys::Node>((*node).args)[..] {
                            [argument] => self.flag(argument, false),
                            _ => Condition::Unknown,
                        },
                        _ => Condition::Unknown,
                    }
                }
                pg_sys::NodeTag::T_NullTest => {
                    let node = node.cast::<pg_sys::NullTest>();
                    let is_null = (*node).nulltesttype == pg_sys::NullTestType::IS_NULL;
                    match self.column((*node).arg.cast()) {
                        Some((column, _)) if !(*node).argisrow => Condition::IsNull(column, is_null),
                        _ => Condition::Unknown,
                    }
                }
                _ => self.flag(node, true),
            }
        }
    }

    /// A boolean column by itself, which is how the planner has `column = true`, and `NOT column`.
    unsafe fn flag(&self, node: *mut pg_sys::Node, value: bool) -> Condition {
        // SAFETY: as the caller of `condition` says.
        match unsafe { self.column(node) } {
            Some((column, pg_sys::BOOLOID)) => {
                let value = Some(Value::Constant(Some(Datum::from(value))));
                let equal = Oid::from(pg_sys::BooleanEqualOperator);
                // SAFETY: the operator is PostgreSQL's own.
                unsafe { self.compare(column, pg_sys::BOOLOID, equal, pg_sys::InvalidOid, value, None) }
            }
            _ => Condition::Unknown,
        }
    }

    unsafe fn comparison(&self, node: *mut pg_sys::OpExpr) -> Condition {
        // SAFETY: as the caller says.
        unsafe {
            let arguments = members::<pg_sys::Node>((*node).args);
            let &[left, right] = &arguments[..] else { return Condition::Unknown };
            let collation = (*node).inputcollid;
            if let Some(begins) = self.begins(pg_sys::get_opcode((*node).opno), &arguments, collation, None) {
                return begins;
            }
            if let Some((column, of)) = self.column(left) {
                return self.compare(column, of, (*node).opno, collation, self.value(right), None);
            }
            match (self.column(right), pg_sys::get_commutator((*node).opno)) {
                (Some((column, of)), operator) if operator != pg_sys::InvalidOid => {
                    self.compare(column, of, operator, collation, self.value(left), None)
                }
                _ => Condition::Unknown,
            }
        }
    }

    /// `column = ANY (array)`, which `IN` is.
    unsafe fn any_of(&self, node: *mut pg_sys::ScalarArrayOpExpr) -> Condition {
        // SAFETY: as the caller says.
        unsafe {
            let arguments = members::<pg_sys::Node>((*node).args);
            let &[left, right] = &arguments[..] else { return Condition::Unknown };
            let element = pg_sys::get_element_type(pg_sys::exprType(right));
            if !(*node).useOr || element == pg_sys::InvalidOid {
                return Condition::Unknown;
            }
            let (operator, collation, element) = ((*node).opno, (*node).inputcollid, Element::new(element));
            let function = pg_sys::get_opcode(operator);
            if let Some(begins) = self.begins(function, &arguments, collation, Some(&element)) {
                return begins;
            }
            match self.column(left) {
                Some((column, of)) => {
                    self.compare(column, of, operator, collation, self.value(right), Some(element))
                }
                None => Condition::Unknown,
            }
        }
    }

    /// A column of the relation: its place among the columns and its type below domains.
    pub(super) unsafe fn column(&self, node: *mut pg_sys::Node) -> Option<(usize, Oid)> {
        // SAFETY: each node is of the type that its tag says.
        unsafe {
            let mut node = node;
            while (*node).type_ == pg_sys::NodeTag::T_RelabelType {
                node = (*node.cast::<pg_sys::RelabelType>()).arg.cast();
            }
            if (*node).type_ != pg_sys::NodeTag::T_Var {
                return None;
            }
            let var = node.cast::<pg_sys::Var>();
            if (*var).varno as u32 != self.relation || (*var).varlevelsup != 0 {
                return None;
            }
            let index = self.columns.iter().position(|(number, _)| *number == (*var).varattno)?;
            Some((index, self.columns[index].1))
        }
    }

    unsafe fn compare(
        &self,
        column: usize,
        of: Oid,
        operator: Oid,
        collation: Oid,
        value: Option<Value>,
        element: Option<Element>,
    ) -> Condition {
        // SAFETY: catalog look-ups of an operator that the query uses.
        unsafe {
            let (mut left, mut right) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
            pg_sys::op_input_types(operator, &mut left, &mut right);
            let same = left == of || left == pg_sys::TEXTOID && of == pg_sys::VARCHAROID;
            let family = family(left);
            if !same || family == pg_sys::InvalidOid {
                return Condition::Unknown;
            }
            let Some((order, test)) = meaning(operator, family, element.is_some()) else {
                return Condition::Unknown;
            };
            let exact = Exact::new(operator, (left, right), test, collation, element.is_some());
            let Some((kind, collation)) = peculiar(left, order, collation) else { return Condition::Unknown };
            let strategies = match order {
                Order::Equal => vec![pg_sys::BTLessEqualStrategyNumber, pg_sys::BTGreaterEqualStrategyNumber],
                Order::Unequal => Vec::new(),
                _ => vec![pg_sys::get_op_opfamily_strategy(operator, family) as u32],
            };
            let mut operators = Vec::with_capacity(strategies.len());
            for strategy in strategies {
                let member = pg_sys::get_opfamily_member(family, left, right, strategy as i16);
                if member == pg_sys::InvalidOid {
                    return Condition::Unknown;
                }
                operators.push(function(member));
            }
            match value {
                Some(value) => Condition::Compare(Comparison {
                    column,
                    order,
                    operators,
                    collation,
                    kind,
                    value,
                    element,
                    exact,
                }),
                None => Condition::Unknown,
            }
        }
    }

    /// While planning, columns of other relations are values: the scan gets them as parameters.
    unsafe fn refers_to_rows(&self, node: *mut pg_sys::Node) -> bool {
        const VARS: u32 = pg_sys::PVC_RECURSE_AGGREGATES
            | pg_sys::PVC_RECURSE_WINDOWFUNCS
            | pg_sys::PVC_INCLUDE_PLACEHOLDERS;
        // SAFETY: each node is of the type that its tag says.
        unsafe {
            let is_other = |var: *mut pg_sys::Var| {
                (*var).xpr.type_ == pg_sys::NodeTag::T_Var && (*var).varno as u32 != self.relation
            };
            match self.parent.is_null() {
                true => !members(pg_sys::pull_var_clause(node, VARS as i32)).into_iter().all(is_other),
                false => pg_sys::contain_var_clause(node),
            }
        }
    }

    /// What is the same for all rows of a scan.
    pub(super) unsafe fn value(&self, node: *mut pg_sys::Node) -> Option<Value> {
        // SAFETY: each node is of the type that its tag says.
        unsafe {
            if (*node).type_ == pg_sys::NodeTag::T_Const {
                let constant = node.cast::<pg_sys::Const>();
                return Some(Value::Constant((!(*constant).constisnull).then_some((*constant).constvalue)));
            }
            let varies = self.refers_to_rows(node)
                || pg_sys::contain_volatile_functions(node)
                || pg_sys::contain_subplans(node);
            if varies {
                return None;
            }
            let state = match self.parent.is_null() {
                true => std::ptr::null_mut(),
                false => pg_sys::ExecInitExpr(node.cast(), self.parent),
            };
            Some(Value::Expression {
                state,
                fixed: pg_sys::pull_paramids(node.cast()).is_null(),
                now: Cell::new(None),
            })
        }
    }
}

impl Exact {
    /// `None` where rows are better left to the executor: it has a hash table for long lists.
    unsafe fn new(
        operator: Oid,
        types: (Oid, Oid),
        test: Test,
        collation: Oid,
        is_list: bool,
    ) -> Option<Exact> {
        let form = form(types);
        // SAFETY: catalog look-ups of an operator that the query uses.
        let (is_strict, function) = unsafe { (pg_sys::op_strict(operator), function(operator)) };
        let decided = is_strict && !(is_list && form == Form::Other);
        decided.then_some(Exact { test, form, right: types.1, function, collation })
    }
}

/// How values of the operator's two types can be compared without it.
fn form(types: (Oid, Oid)) -> Form {
    use pgrx::pg_sys::*;
    match types {
        (INT2OID | INT4OID | INT8OID, INT2OID | INT4OID | INT8OID) => Form::Integer,
        (BOOLOID | OIDOID | DATEOID | TIMEOID | TIMESTAMPOID | TIMESTAMPTZOID, right) if right == types.0 => {
            Form::Integer
        }
        (FLOAT4OID | FLOAT8OID, FLOAT4OID | FLOAT8OID) => {
            Form::Float(types.0 == FLOAT4OID, types.1 == FLOAT4OID)
        }
        (NUMERICOID, NUMERICOID) => Form::Numeric,
        (TEXTOID, TEXTOID) | (BYTEAOID, BYTEAOID) => Form::Bytes,
        (UUIDOID, UUIDOID) => Form::Uuid,
        _ => Form::Other,
    }
}

/// The function of an operator.
unsafe fn function(operator: Oid) -> pg_sys::FmgrInfo {
    let mut function = pg_sys::FmgrInfo::default();
    // SAFETY: catalog look-ups of an operator that exists; the current context outlives the conditions.
    unsafe {
        pg_sys::fmgr_info_cxt(pg_sys::get_opcode(operator), &mut function, pg_sys::CurrentMemoryContext);
    }
    function
}

/// What an operator of the family means, or one that is the negation of its equality.
unsafe fn meaning(operator: Oid, family: Oid, is_list: bool) -> Option<(Order, Test)> {
    // SAFETY: catalog look-ups of an operator that the query uses.
    let strategy = |operator| unsafe { pg_sys::get_op_opfamily_strategy(operator, family) as u32 };
    let found = match strategy(operator) {
        pg_sys::BTLessStrategyNumber => (Order::Below, Test::Less),
        pg_sys::BTLessEqualStrategyNumber => (Order::Below, Test::LessEqual),
        pg_sys::BTEqualStrategyNumber => (Order::Equal, Test::Equal),
        pg_sys::BTGreaterEqualStrategyNumber => (Order::Above, Test::GreaterEqual),
        pg_sys::BTGreaterStrategyNumber => (Order::Above, Test::Greater),
        _ => {
            // SAFETY: as above.
            let negator = unsafe { pg_sys::get_negator(operator) };
            let is_unequal =
                negator != pg_sys::InvalidOid && strategy(negator) == pg_sys::BTEqualStrategyNumber;
            return (is_unequal && !is_list).then_some((Order::Unequal, Test::NotEqual));
        }
    };
    Some(found)
}

/// The btree operator family by which a type is ordered.
fn family(of: Oid) -> Oid {
    // SAFETY: a cache look-up of a type that a column has.
    unsafe { (*pg_sys::lookup_type_cache(of, pg_sys::TYPECACHE_BTREE_OPFAMILY as i32)).btree_opf }
}

/// What is peculiar to comparing values of a type, and the collation to compare bounds with; `None`: their
/// order in files is not that of the operator.
fn peculiar(of: Oid, order: Order, collation: Oid) -> Option<(Kind, Oid)> {
    let deterministic = || is_deterministic(collation);
    match of {
        pg_sys::FLOAT4OID => Some((Kind::Float { single: true }, collation)),
        pg_sys::FLOAT8OID => Some((Kind::Float { single: false }, collation)),
        pg_sys::TEXTOID if !encoding::database_is_utf8() => None,
        pg_sys::TEXTOID => {
            let sound = match order {
                Order::Equal | Order::Unequal => deterministic(),
                Order::Below | Order::Above => catalog::orders_by_bytes(collation),
            };
            sound.then_some((Kind::Plain, pg_sys::C_COLLATION_OID))
        }
        pg_sys::BPCHAROID => {
            let is_equality = matches!(order, Order::Equal | Order::Unequal);
            (is_equality && deterministic()).then_some((Kind::Blanks, collation))
        }
        _ => Some((Kind::Plain, collation)),
    }
}

/// Whether texts are equal that have the same bytes, and no others.
pub(super) fn is_deterministic(collation: Oid) -> bool {
    // SAFETY: a syscache look-up of a collation that the query uses.
    collation != pg_sys::InvalidOid && unsafe { pg_sys::get_collation_isdeterministic(collation) }
}
