//! Translates PostgreSQL's nodes into conditions that skip groups of rows: each is true for every row for which the
//! expression is. A condition is `column operator value`, where the operator belongs
//! to the btree family by which the column's type is ordered and the value is the same for the whole scan.
//!
//! Files order texts by bytes. Equality under a deterministic collation is equality of the
//! bytes; less and greater are translated only if the collation orders by bytes.

use pgrx::pg_sys::{self, Oid};

use super::collation::{is_deterministic, orders_by_bytes};
use super::input::{Input, Values};
use super::inputs::Inputs;
use super::opaque::Comparison;
use super::parameter::depends_on_plan;
use crate::expr::{ColumnRef, Condition, Constant, Operand, Scalar, Test, Type};
use crate::pg::encoding;
use crate::pg::list::members;

/// The columns that conditions may be about.
pub struct Scope {
    pub relation: u32,
    /// Attribute number, type below domains.
    pub columns: Vec<(i16, Oid)>,
    /// The scan in which expressions are evaluated, null for one without a node; `None` while planning, where they have no
    /// values.
    pub parent: Option<*mut pg_sys::PlanState>,
}

/// Translates expressions of one scan.
pub struct Translator<'a> {
    pub scope: &'a Scope,
    pub inputs: &'a mut Inputs,
}

/// The parts of `column operator value`.
struct Parts {
    column: (usize, Oid),
    operator: Oid,
    collation: Oid,
    value: *mut pg_sys::Node,
    /// The value is an array of this type.
    element: Option<Oid>,
}

impl Translator<'_> {
    /// Returns an expression as a condition; `None` for what is left to the executor.
    ///
    /// # Safety
    /// The node is an expression over the relation's columns, and outlives the inputs.
    pub unsafe fn condition(&mut self, node: *mut pg_sys::Node) -> Option<Condition> {
        let before = (self.inputs.parameters.len(), self.inputs.opaque.len());
        // SAFETY: the caller's node is passed on.
        let found = unsafe { self.node(node) };
        if found.is_none() {
            // An expression that is not used must not be evaluated: it might raise an error.
            self.inputs.parameters.truncate(before.0);
            self.inputs.opaque.truncate(before.1);
        }
        found
    }

    /// # Safety
    /// The contract is that of `condition`.
    unsafe fn node(&mut self, node: *mut pg_sys::Node) -> Option<Condition> {
        // SAFETY: each node is of the type that its tag says.
        unsafe {
            match (*node).type_ {
                pg_sys::NodeTag::T_OpExpr => self.comparison(node.cast()),
                pg_sys::NodeTag::T_ScalarArrayOpExpr => self.any_of(node.cast()),
                pg_sys::NodeTag::T_FuncExpr => {
                    let node = node.cast::<pg_sys::FuncExpr>();
                    let arguments = members::<pg_sys::Node>((*node).args);
                    self.begins((*node).funcid, &arguments, (*node).inputcollid, None)?
                }
                pg_sys::NodeTag::T_BoolExpr => self.boolean(node.cast()),
                pg_sys::NodeTag::T_NullTest => {
                    let node = node.cast::<pg_sys::NullTest>();
                    let (column, _) = self.scope.column((*node).arg.cast()).filter(|_| !(*node).argisrow)?;
                    let is_null = Condition::IsNull(column);
                    Some(match (*node).nulltesttype {
                        pg_sys::NullTestType::IS_NULL => is_null,
                        _ => Condition::Not(is_null.into()),
                    })
                }
                _ => self.flag(node, true),
            }
        }
    }

    /// # Safety
    /// The contract is that of `condition`.
    unsafe fn boolean(&mut self, node: *mut pg_sys::BoolExpr) -> Option<Condition> {
        // SAFETY: a BoolExpr's arguments are expressions.
        unsafe {
            let arguments = members::<pg_sys::Node>((*node).args);
            match (*node).boolop {
                pg_sys::BoolExprType::AND_EXPR => {
                    let parts = arguments.iter().map(|&part| self.condition(part));
                    let parts: Vec<Option<Condition>> = parts.collect();
                    // Without some of its parts an AND is true in more rows.
                    let parts: Vec<Condition> = parts.into_iter().flatten().collect();
                    (!parts.is_empty()).then_some(Condition::And(parts))
                }
                pg_sys::BoolExprType::OR_EXPR => {
                    let parts: Option<Vec<Condition>> =
                        arguments.iter().map(|&part| self.condition(part)).collect();
                    parts.map(Condition::Or)
                }
                _ => match arguments[..] {
                    [argument] => self.flag(argument, false),
                    _ => None,
                },
            }
        }
    }

    /// Translates a boolean column by itself, which is how the planner has `column = true`, and `NOT column`.
    ///
    /// # Safety
    /// The contract is that of `condition`.
    unsafe fn flag(&mut self, node: *mut pg_sys::Node, value: bool) -> Option<Condition> {
        // SAFETY: the caller's node is passed on.
        match unsafe { self.scope.column(node) } {
            Some((index, pg_sys::BOOLOID)) => {
                let value = Operand::Constant(Constant::One(Scalar::Integer(value.into())));
                Some(Condition::Compare(ColumnRef { index, of: Type::Bool }, Test::Equal, value))
            }
            _ => None,
        }
    }

    /// # Safety
    /// The contract is that of `condition`.
    unsafe fn comparison(&mut self, node: *mut pg_sys::OpExpr) -> Option<Condition> {
        // SAFETY: an OpExpr's arguments are expressions.
        unsafe {
            let arguments = members::<pg_sys::Node>((*node).args);
            let &[left, right] = &arguments[..] else { return None };
            let (operator, collation) = ((*node).opno, (*node).inputcollid);
            if let Some(begins) = self.begins(pg_sys::get_opcode(operator), &arguments, collation, None) {
                return begins;
            }
            let (column, operator, value) = match self.scope.column(left) {
                Some(column) => (column, operator, right),
                None => (self.scope.column(right)?, pg_sys::get_commutator(operator), left),
            };
            if operator == pg_sys::InvalidOid {
                return None;
            }
            self.compare(Parts { column, operator, collation, value, element: None })
        }
    }

    /// Translates `column operator ANY (array)`, which `IN` is.
    ///
    /// # Safety
    /// The contract is that of `condition`.
    unsafe fn any_of(&mut self, node: *mut pg_sys::ScalarArrayOpExpr) -> Option<Condition> {
        // SAFETY: a ScalarArrayOpExpr's arguments are expressions.
        unsafe {
            let arguments = members::<pg_sys::Node>((*node).args);
            let &[left, value] = &arguments[..] else { return None };
            let element = pg_sys::get_element_type(pg_sys::exprType(value));
            if !(*node).useOr || element == pg_sys::InvalidOid {
                return None;
            }
            let (operator, collation, element) = ((*node).opno, (*node).inputcollid, Some(element));
            if let Some(begins) = self.begins(pg_sys::get_opcode(operator), &arguments, collation, element) {
                return begins;
            }
            let column = self.scope.column(left)?;
            self.compare(Parts { column, operator, collation, value, element })
        }
    }

    /// # Safety
    /// The parts are those of an expression that `condition` takes.
    unsafe fn compare(&mut self, parts: Parts) -> Option<Condition> {
        let Parts { column: (index, of), operator, collation, value, element } = parts;
        // SAFETY: catalog look-ups of an operator that the query uses; the value is an expression.
        unsafe {
            let (mut left, mut right) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
            pg_sys::op_input_types(operator, &mut left, &mut right);
            let family = family(left);
            let is_same = left == of || left == pg_sys::TEXTOID && of == pg_sys::VARCHAROID;
            if !is_same || family == pg_sys::InvalidOid {
                return None;
            }
            let test = meaning(operator, family)?;
            if !is_sound(left, test, collation) {
                return None;
            }
            match native(left, right) {
                Some(of) => {
                    let values = Values { of, oid: right, is_array: element.is_some() };
                    let operand = self.operand(value, values)?;
                    Some(Condition::Compare(ColumnRef { index, of }, test, operand))
                }
                None => {
                    let bounds = bounds_operators(test, (operator, family), (left, right))?;
                    let is_text = left == pg_sys::TEXTOID;
                    let number = self.inputs.opaque.len();
                    self.inputs.opaque.push(Comparison {
                        column: index,
                        test,
                        bounds,
                        bounds_collation: if is_text { pg_sys::C_COLLATION_OID } else { collation },
                        value: self.scope.input(value)?,
                        element,
                    });
                    Some(Condition::Opaque { number, column: index })
                }
            }
        }
    }

    /// Returns a constant, or a parameter for an expression that is the same for all rows.
    ///
    /// # Safety
    /// The node is an expression of the values' type, and outlives the inputs.
    pub(super) unsafe fn operand(&mut self, node: *mut pg_sys::Node, values: Values) -> Option<Operand> {
        // SAFETY: the node is an expression.
        match unsafe { self.scope.input(node) }? {
            Input::Constant(value) if self.scope.parent.is_some() => {
                // SAFETY: the expression is of the values' type.
                Some(Operand::Constant(unsafe { values.constant(value) }))
            }
            // While planning a constant, too, has no value: reading a long list would be in vain.
            input => {
                self.inputs.parameters.push((input, values));
                Some(Operand::Parameter(self.inputs.parameters.len() - 1))
            }
        }
    }
}

impl Scope {
    /// Returns a column of the relation: its place among the columns and its type below domains.
    ///
    /// # Safety
    /// The node is an expression.
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

    /// Returns an expression that is the same for all rows of a scan.
    ///
    /// # Safety
    /// The node is an expression that outlives the result.
    unsafe fn input(&self, node: *mut pg_sys::Node) -> Option<Input> {
        // SAFETY: each node is of the type that its tag says.
        unsafe {
            if (*node).type_ == pg_sys::NodeTag::T_Const {
                let constant = node.cast::<pg_sys::Const>();
                return Some(Input::Constant((!(*constant).constisnull).then_some((*constant).constvalue)));
            }
            let varies = self.refers_to_rows(node)
                || pg_sys::contain_volatile_functions(node)
                || pg_sys::contain_subplans(node);
            if varies {
                return None;
            }
            let init = |parent| pg_sys::ExecInitExpr(node.cast(), parent);
            let state = self.parent.map_or(std::ptr::null_mut(), init);
            let is_fixed = !depends_on_plan(node);
            Some(Input::Expression { state, is_fixed, now: None })
        }
    }

    /// Returns whether an expression differs by row. While planning, columns of other relations are values: the
    /// scan gets them as parameters.
    ///
    /// # Safety
    /// The node is an expression.
    unsafe fn refers_to_rows(&self, node: *mut pg_sys::Node) -> bool {
        const VARS: u32 = pg_sys::PVC_RECURSE_AGGREGATES
            | pg_sys::PVC_RECURSE_WINDOWFUNCS
            | pg_sys::PVC_INCLUDE_PLACEHOLDERS;
        // SAFETY: each node is of the type that its tag says.
        unsafe {
            let is_other = |var: *mut pg_sys::Var| {
                (*var).xpr.type_ == pg_sys::NodeTag::T_Var && (*var).varno as u32 != self.relation
            };
            match self.parent {
                None => !members(pg_sys::pull_var_clause(node, VARS as i32)).into_iter().all(is_other),
                Some(_) => pg_sys::contain_var_clause(node),
            }
        }
    }
}

/// Returns the type as which an operator compares values of its two types; `None` for those of PostgreSQL alone.
fn native(left: Oid, right: Oid) -> Option<Type> {
    use pgrx::pg_sys::*;

    use crate::expr::Type;
    Some(match (left, right) {
        (INT2OID | INT4OID | INT8OID, INT2OID | INT4OID | INT8OID) => Type::Integer,
        (FLOAT4OID, FLOAT4OID | FLOAT8OID) => Type::Float4,
        (FLOAT8OID, FLOAT4OID | FLOAT8OID) => Type::Float8,
        _ if left != right => return None,
        (BOOLOID, _) => Type::Bool,
        (OIDOID, _) => Type::Oid,
        (DATEOID, _) => Type::Date,
        (TIMEOID, _) => Type::Time,
        (TIMESTAMPOID | TIMESTAMPTZOID, _) => Type::Timestamp,
        (NUMERICOID, _) => Type::Numeric,
        (TEXTOID, _) => Type::Text,
        (BPCHAROID, _) => Type::Bpchar,
        (BYTEAOID, _) => Type::Bytea,
        (UUIDOID, _) => Type::Uuid,
        _ => return None,
    })
}

/// Returns whether bytes tell how values of a type compare.
fn is_sound(of: Oid, test: Test, collation: Oid) -> bool {
    let is_equality = matches!(test, Test::Equal | Test::NotEqual);
    match of {
        pg_sys::TEXTOID if !encoding::database_is_utf8() => false,
        pg_sys::TEXTOID if is_equality => is_deterministic(collation),
        pg_sys::TEXTOID => orders_by_bytes(collation),
        pg_sys::BPCHAROID => is_equality && is_deterministic(collation),
        _ => true,
    }
}

/// Returns the functions that compare bounds, as `Comparison` has them.
///
/// # Safety
/// The operator is one of the family, or the negation of its equality, of the two types.
unsafe fn bounds_operators(
    test: Test,
    (operator, family): (Oid, Oid),
    (left, right): (Oid, Oid),
) -> Option<Vec<pg_sys::FmgrInfo>> {
    let strategies = match test {
        Test::Equal => vec![pg_sys::BTLessEqualStrategyNumber, pg_sys::BTGreaterEqualStrategyNumber],
        Test::NotEqual => Vec::new(),
        // SAFETY: a catalog look-up of an operator that the query uses.
        _ => vec![unsafe { pg_sys::get_op_opfamily_strategy(operator, family) } as u32],
    };
    let member = |strategy: u32| {
        // SAFETY: catalog look-ups of an operator family.
        unsafe {
            let member = pg_sys::get_opfamily_member(family, left, right, strategy as i16);
            (member != pg_sys::InvalidOid).then(|| function(member))
        }
    };
    strategies.into_iter().map(member).collect()
}

/// Returns the function of an operator.
///
/// # Safety
/// The operator exists; the current context outlives the result.
unsafe fn function(operator: Oid) -> pg_sys::FmgrInfo {
    let mut function = pg_sys::FmgrInfo::default();
    // SAFETY: catalog look-ups of an operator that exists.
    unsafe {
        pg_sys::fmgr_info_cxt(pg_sys::get_opcode(operator), &mut function, pg_sys::CurrentMemoryContext);
    }
    function
}

/// Returns what an operator of the family means, or one that is the negation of its equality.
///
/// # Safety
/// The operator exists.
unsafe fn meaning(operator: Oid, family: Oid) -> Option<Test> {
    // SAFETY: catalog look-ups of an operator that the query uses.
    let strategy = |operator| unsafe { pg_sys::get_op_opfamily_strategy(operator, family) as u32 };
    Some(match strategy(operator) {
        pg_sys::BTLessStrategyNumber => Test::Less,
        pg_sys::BTLessEqualStrategyNumber => Test::LessEqual,
        pg_sys::BTEqualStrategyNumber => Test::Equal,
        pg_sys::BTGreaterEqualStrategyNumber => Test::GreaterEqual,
        pg_sys::BTGreaterStrategyNumber => Test::Greater,
        _ => {
            // SAFETY: a catalog look-up of an operator that the query uses.
            let negator = unsafe { pg_sys::get_negator(operator) };
            let is_unequal =
                negator != pg_sys::InvalidOid && strategy(negator) == pg_sys::BTEqualStrategyNumber;
            return is_unequal.then_some(Test::NotEqual);
        }
    })
}

/// Returns what an operator means in the order of its left argument's type.
pub fn test_of(operator: Oid) -> Option<Test> {
    let (mut left, mut right) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
    // SAFETY: catalog look-ups of an operator that a query uses.
    unsafe {
        pg_sys::op_input_types(operator, &mut left, &mut right);
        let family = family(left);
        if family == pg_sys::InvalidOid { None } else { meaning(operator, family) }
    }
}

/// Returns the btree operator family by which a type is ordered.
fn family(of: Oid) -> Oid {
    // SAFETY: a cache look-up of a type that a column has.
    unsafe { (*pg_sys::lookup_type_cache(of, pg_sys::TYPECACHE_BTREE_OPFAMILY as i32)).btree_opf }
}
