//! Translates PostgreSQL's expressions into those of `query`. What is not known here is `None`, and no path is offered.
//!
//! Functions are known by their OIDs in pg_proc.dat, which are the same in all versions.

use pgrx::pg_sys::{self, Datum, Node, NodeTag, Oid};

use super::types::{compares, type_of};
use super::{datum, stable};
use crate::pg::encoding;
use crate::pg::expr::collation::is_deterministic;
use crate::pg::expr::{elements, test_of};
use crate::pg::list::members;
use crate::query::{Arithmetic, Expr, Like, Test, Type, Value};

/// Translates expressions over the columns of one table.
pub struct Translator<'a> {
    /// Returns the number of a Var's column.
    pub column: &'a mut dyn FnMut(&pg_sys::Var) -> Option<usize>,
    /// Columns may be of types that are not known here, as those of files may.
    pub takes_other: bool,
    /// Parameters stand for values that are not known yet.
    pub has_parameters: bool,
    /// The argument of the CASE that is translated, which its conditions compare.
    pub case: Option<Expr>,
    /// How many expressions the one that is translated lies in.
    pub depth: usize,
}

/// Expressions that lie deeper in others are not translated: each takes some frames of the stack.
const DEEPEST: usize = 32;
/// The levels that an expression may have in the JSON that workers get, of which serde_json reads 127. The job around it
/// and a value in place of a parameter have some, too.
const LEVELS: usize = 100;
/// The bytes that the copies of a part may take together, so that copies of copies stay small, and what a part may always
/// take.
const COPIES: usize = 16 << 10;
const COPIED: usize = 256;

/// An expression and its type.
pub type Typed = (Expr, Type);

impl Translator<'_> {
    /// Translates an expression that is no part of another one.
    ///
    /// # Safety
    /// The node is an expression.
    pub unsafe fn whole(&mut self, node: *mut Node) -> Option<Typed> {
        // SAFETY: the caller passes an expression.
        unsafe { self.expr(node) }.filter(|(expr, _)| expr.size().1 <= LEVELS)
    }

    /// Translates an expression.
    ///
    /// # Safety
    /// The node is an expression.
    pub unsafe fn expr(&mut self, node: *mut Node) -> Option<Typed> {
        if node.is_null() || self.depth == DEEPEST {
            return None;
        }
        self.depth += 1;
        // SAFETY: the caller passes an expression.
        let found = unsafe { self.of_node(node) };
        self.depth -= 1;
        found
    }

    /// # Safety
    /// The node is an expression.
    unsafe fn of_node(&mut self, node: *mut Node) -> Option<Typed> {
        // SAFETY: each node is of the type that its tag says; its arguments are expressions.
        unsafe {
            let of = || type_of(pg_sys::exprType(node));
            if self.has_parameters && stable::is_known_at_start(node) {
                return Some((Expr::Constant(of()?, Value::Null), of()?));
            }
            Some(match (*node).type_ {
                NodeTag::T_Var => {
                    let var = &*node.cast::<pg_sys::Var>();
                    (Expr::Column((self.column)(var)?), of()?)
                }
                NodeTag::T_Const => {
                    let constant = &*node.cast::<pg_sys::Const>();
                    let of = of()?;
                    let value = datum::value(of, (!constant.constisnull).then_some(constant.constvalue));
                    (Expr::Constant(of, value), of)
                }
                NodeTag::T_Param if self.has_parameters => (Expr::Constant(of()?, Value::Null), of()?),
                NodeTag::T_RelabelType => {
                    let (expr, from) = self.expr((*node.cast::<pg_sys::RelabelType>()).arg.cast())?;
                    // An integer and an oid of the same bytes differ.
                    (from == of()?).then_some((expr, from))?
                }
                NodeTag::T_OpExpr => self.operator(node.cast())?,
                NodeTag::T_FuncExpr => self.function(node.cast())?,
                NodeTag::T_ScalarArrayOpExpr => (self.list(node.cast())?, Type::Bool),
                NodeTag::T_BoolExpr => {
                    let node = &*node.cast::<pg_sys::BoolExpr>();
                    let parts = self.conditions(node.args)?;
                    let expr = match node.boolop {
                        pg_sys::BoolExprType::AND_EXPR => Expr::And(parts),
                        pg_sys::BoolExprType::OR_EXPR => Expr::Or(parts),
                        _ => Expr::Not(parts.into_iter().next()?.into()),
                    };
                    (expr, Type::Bool)
                }
                NodeTag::T_NullTest => {
                    let node = &*node.cast::<pg_sys::NullTest>();
                    let argument = self.presence(node.arg.cast()).filter(|_| !node.argisrow)?;
                    let is_null = Expr::IsNull(argument.into());
                    let expr = match node.nulltesttype {
                        pg_sys::NullTestType::IS_NULL => is_null,
                        _ => Expr::Not(is_null.into()),
                    };
                    (expr, Type::Bool)
                }
                NodeTag::T_BooleanTest => (self.boolean_test(&*node.cast())?, Type::Bool),
                NodeTag::T_CaseExpr => self.case_expr(&*node.cast())?,
                NodeTag::T_CaseTestExpr => (self.case.clone()?, of()?),
                NodeTag::T_CoalesceExpr => {
                    let of = of()?;
                    let parts = members::<Node>((*node.cast::<pg_sys::CoalesceExpr>()).args);
                    let parts =
                        parts.into_iter().map(|part| self.of_type(part, of)).collect::<Option<_>>()?;
                    (Expr::Coalesce(of, parts), of)
                }
                NodeTag::T_DistinctExpr => {
                    let node = &*node.cast::<pg_sys::OpExpr>();
                    let (equal, [left, right]) = self.equality(node)?;
                    let are_null = [left, right].map(|(side, _)| Expr::IsNull(side.into()));
                    let is_equal = Expr::Is { argument: equal.into(), value: true, is_negated: false };
                    let is_same = Expr::Or(vec![is_equal, Expr::And(are_null.into())]);
                    (Expr::Not(is_same.into()), Type::Bool)
                }
                NodeTag::T_NullIfExpr => {
                    let (equal, [(left, of), _]) = self.equality(&*node.cast::<pg_sys::OpExpr>())?;
                    (Expr::Case(of, vec![(equal, Expr::Constant(of, Value::Null))], left.into()), of)
                }
                NodeTag::T_MinMaxExpr => {
                    let node = &*node.cast::<pg_sys::MinMaxExpr>();
                    let of = type_of(node.minmaxtype)?;
                    let parts = members::<Node>(node.args).into_iter().map(|part| self.of_type(part, of));
                    let parts = parts.collect::<Option<Vec<Expr>>>()?;
                    let is_greatest = node.op == pg_sys::MinMaxOp::IS_GREATEST;
                    compares(of, Test::Less, node.inputcollid)
                        .then_some((Expr::Extreme(of, is_greatest, parts), of))?
                }
                _ => return None,
            })
        }
    }

    /// Translates an expression of which only whether it is NULL matters: one that is known here, or any column.
    ///
    /// # Safety
    /// The node is an expression.
    pub unsafe fn presence(&mut self, node: *mut Node) -> Option<Expr> {
        // SAFETY: each node is of the type that its tag says.
        unsafe {
            let mut column = node;
            while (*column).type_ == NodeTag::T_RelabelType {
                column = (*column.cast::<pg_sys::RelabelType>()).arg.cast();
            }
            match (*column).type_ {
                NodeTag::T_Var if self.takes_other => {
                    (self.column)(&*column.cast::<pg_sys::Var>()).map(Expr::Column)
                }
                _ => self.whole(node).map(|(expr, _)| expr),
            }
        }
    }

    /// Translates the comparison of an expression that says which values are equal.
    ///
    /// # Safety
    /// The node is such an expression.
    unsafe fn equality(&mut self, node: &pg_sys::OpExpr) -> Option<(Expr, [Typed; 2])> {
        // SAFETY: the arguments are expressions; a catalog look-up of an operator that a query uses.
        unsafe {
            let &[left, right] = &members::<Node>(node.args)[..] else { return None };
            let (left, right) = (self.copied(left, 2)?, self.copied(right, 2)?);
            let test = test_of(node.opno).filter(|test| *test == Test::Equal)?;
            let equal = compare(test, left.clone(), right.clone(), node.inputcollid)?;
            Some((equal, [left, right]))
        }
    }

    /// Translates an expression that is copied so many times.
    ///
    /// # Safety
    /// The node is an expression.
    unsafe fn copied(&mut self, node: *mut Node, copies: usize) -> Option<Typed> {
        // SAFETY: the caller passes an expression.
        unsafe { self.expr(node) }.filter(|(expr, _)| can_copy(expr, copies))
    }

    /// Translates an expression that must be of a type.
    ///
    /// # Safety
    /// The node is an expression.
    unsafe fn of_type(&mut self, node: *mut Node, of: Type) -> Option<Expr> {
        // SAFETY: the caller passes an expression.
        let (expr, found) = unsafe { self.expr(node) }?;
        (found == of).then_some(expr)
    }

    /// # Safety
    /// The list is one of expressions.
    unsafe fn conditions(&mut self, list: *mut pg_sys::List) -> Option<Vec<Expr>> {
        // SAFETY: the caller passes a list of expressions.
        unsafe { members::<Node>(list).into_iter().map(|node| self.of_type(node, Type::Bool)).collect() }
    }

    /// # Safety
    /// The node is an operator's expression.
    unsafe fn operator(&mut self, node: *mut pg_sys::OpExpr) -> Option<Typed> {
        // SAFETY: the arguments are expressions; catalog look-ups of an operator that a query uses.
        unsafe {
            let node = &*node;
            let function = pg_sys::get_opcode(node.opno).to_u32();
            let of = type_of(node.opresulttype);
            let arguments = members::<Node>(node.args);
            match arguments[..] {
                [argument] => {
                    use pgrx::pg_sys::{F_INT2UM, F_INT4UM, F_INT8UM, F_NUMERIC_UMINUS};
                    let of = of?;
                    let zero = match function {
                        F_INT2UM | F_INT4UM | F_INT8UM => Value::Word(0),
                        F_NUMERIC_UMINUS => Value::Numeric(crate::expr::Numeric::Finite(Default::default())),
                        _ => return self.of_one(function, of, argument, node.inputcollid),
                    };
                    let argument = self.of_type(argument, of)?;
                    let arguments = Box::new([Expr::Constant(of, zero), argument]);
                    Some((Expr::Arithmetic(Arithmetic::Subtract, of, arguments), of))
                }
                [left, right] => {
                    if let Some(is_negated) = like(function) {
                        return self.like(left, right, node.inputcollid, is_negated);
                    }
                    if let Some(op) = arithmetic(function) {
                        return self.arithmetic(op, of?, left, right);
                    }
                    let Some(test) = test_of(node.opno) else {
                        let found = self.of_two(function, of?, [left, right], node.inputcollid);
                        return found.or_else(|| self.of_dates(function, left, right));
                    };
                    let (left, right) = (self.expr(left)?, self.expr(right)?);
                    Some((compare(test, left, right, node.inputcollid)?, Type::Bool))
                }
                _ => None,
            }
        }
    }

    /// # Safety
    /// The nodes are a text and a pattern.
    unsafe fn like(
        &mut self,
        text: *mut Node,
        pattern: *mut Node,
        collation: Oid,
        is_negated: bool,
    ) -> Option<Typed> {
        // A character is one byte, or one of UTF-8.
        let is_utf8 = encoding::database_is_utf8();
        if !is_deterministic(collation) || !is_utf8 && !encoding::database_is_single_byte() {
            return None;
        }
        // SAFETY: the caller passes expressions.
        let ((argument, _), (pattern, _)) = unsafe { (self.expr(text)?, self.expr(pattern)?) };
        let pattern = match pattern {
            Expr::Constant(_, Value::Bytes(pattern)) => Like::new(&pattern, is_utf8)?,
            Expr::Constant(_, Value::Null) if self.has_parameters => Like { parts: Vec::new(), is_utf8 },
            _ => return None,
        };
        Some((Expr::Like { argument: argument.into(), pattern, is_negated }, Type::Bool))
    }

    /// Translates `argument = ANY (array)`, which IN is, and `argument <> ALL (array)`.
    ///
    /// # Safety
    /// The node is such an expression.
    unsafe fn list(&mut self, node: *mut pg_sys::ScalarArrayOpExpr) -> Option<Expr> {
        // SAFETY: the arguments are expressions; catalog look-ups of an operator that a query uses.
        unsafe {
            let node = &*node;
            let &[left, right] = &members::<Node>(node.args)[..] else { return None };
            let (mut argument, mut of) = self.expr(left)?;
            let element = pg_sys::get_element_type(pg_sys::exprType(right));
            let test = test_of(node.opno)?;
            let element_of = type_of(element).filter(|_| element != pg_sys::InvalidOid)?;
            let is_known =
                of != Type::Bool && comparable(of, element_of).is_some() && of.class() == element_of.class();
            if !is_known || !compares(of, test, node.inputcollid) {
                return None;
            }
            if (of, element_of) == (Type::Date, Type::Timestamp) {
                (argument, of) = (Expr::ToTimestamp(argument.into()), Type::Timestamp);
            }
            let list = match (*right).type_ {
                NodeTag::T_Const => (!(*right.cast::<pg_sys::Const>()).constisnull)
                    .then(|| (*right.cast::<pg_sys::Const>()).constvalue),
                NodeTag::T_Param if self.has_parameters => None,
                _ => return None,
            };
            let Some(list) = list else { return Some(Expr::Constant(Type::Bool, Value::Null)) };
            let values = elements(list, element);
            if values.is_empty() {
                return Some(Expr::Constant(Type::Bool, Value::Word((!node.useOr).into())));
            }
            let is_negated = match (test, node.useOr) {
                (Test::Equal, true) => false,
                (Test::NotEqual, false) => true,
                _ => {
                    let values = values.into_iter().map(|value| datum::value(element_of, value));
                    let left = (argument, of);
                    return each(test, left, values.collect(), element_of, node);
                }
            };
            let has_null = values.contains(&None);
            let list = values.into_iter().flatten().map(|value: Datum| datum::value(element_of, Some(value)));
            let list = match (of, element_of) {
                // A date that is no timestamp is equal to none.
                (Type::Timestamp, Type::Date) => list.filter_map(as_timestamp).collect(),
                _ => list.collect(),
            };
            Some(Expr::In { argument: argument.into(), list, has_null, is_negated })
        }
    }

    /// # Safety
    /// The node's argument is an expression.
    unsafe fn boolean_test(&mut self, node: &pg_sys::BooleanTest) -> Option<Expr> {
        use pgrx::pg_sys::BoolTestType::{IS_FALSE, IS_NOT_FALSE, IS_NOT_TRUE, IS_TRUE, IS_UNKNOWN};
        // SAFETY: the caller passes a node with an argument.
        let argument = unsafe { self.of_type(node.arg.cast(), Type::Bool) }?.into();
        Some(match node.booltesttype {
            IS_TRUE => Expr::Is { argument, value: true, is_negated: false },
            IS_NOT_TRUE => Expr::Is { argument, value: true, is_negated: true },
            IS_FALSE => Expr::Is { argument, value: false, is_negated: false },
            IS_NOT_FALSE => Expr::Is { argument, value: false, is_negated: true },
            IS_UNKNOWN => Expr::IsNull(argument),
            _ => Expr::Not(Expr::IsNull(argument).into()),
        })
    }

    /// # Safety
    /// The node's arguments are expressions.
    unsafe fn case_expr(&mut self, node: &pg_sys::CaseExpr) -> Option<Typed> {
        // SAFETY: the caller passes a node whose arguments are expressions.
        unsafe {
            let of = type_of(node.casetype)?;
            let whens = members::<pg_sys::CaseWhen>(node.args);
            let argument = match node.arg.is_null() {
                true => None,
                false => Some(self.copied(node.arg.cast(), whens.len())?.0),
            };
            let outer = std::mem::replace(&mut self.case, argument);
            let whens = whens.into_iter().map(|when| {
                let condition = self.of_type((*when).expr.cast(), Type::Bool)?;
                // A CASE in the value has an argument of its own; this one's is not used there.
                Some((condition, self.of_type((*when).result.cast(), of)?))
            });
            let whens = whens.collect::<Option<Vec<_>>>();
            self.case = outer;
            let otherwise = match node.defresult.is_null() {
                true => Expr::Constant(of, Value::Null),
                false => self.of_type(node.defresult.cast(), of)?,
            };
            Some((Expr::Case(of, whens?, otherwise.into()), of))
        }
    }
}

/// Returns whether so many copies of an expression are not too large.
fn can_copy(expr: &Expr, copies: usize) -> bool {
    let bytes = expr.size().0;
    bytes <= COPIED || bytes.saturating_mul(copies) <= COPIES
}

/// Returns the comparisons of a value with each of a list, of which one has to be true, or all.
fn each(
    test: Test,
    left: Typed,
    values: Vec<Value>,
    of: Type,
    node: &pg_sys::ScalarArrayOpExpr,
) -> Option<Expr> {
    const MOST: usize = 64;
    if values.len() > MOST || !can_copy(&left.0, values.len()) {
        return None;
    }
    let one = |value| compare(test, left.clone(), (Expr::Constant(of, value), of), node.inputcollid);
    let parts = values.into_iter().map(one).collect::<Option<Vec<Expr>>>()?;
    Some(if node.useOr { Expr::Or(parts) } else { Expr::And(parts) })
}

/// Returns a date as a timestamp; `None` if there is no such timestamp.
fn as_timestamp(date: Value) -> Option<Value> {
    let Value::Word(days) = date else { return None };
    Some(Value::Word(crate::query::timestamp_of(days)?))
}

/// Returns a comparison of values that are of one class, once dates are timestamps where the other side is.
fn compare(test: Test, (left, a): Typed, (right, b): Typed, collation: Oid) -> Option<Expr> {
    if !compares(a, test, collation) || !compares(b, test, collation) {
        return None;
    }
    let of = comparable(a, b)?;
    let as_it = |expr: Expr, from: Type| match (from, of) {
        (Type::Date, Type::Timestamp) => Expr::ToTimestamp(expr.into()),
        _ => expr,
    };
    Some(Expr::Compare(test, Box::new([as_it(left, a), as_it(right, b)])))
}

/// Returns the type as which values of two types compare.
fn comparable(a: Type, b: Type) -> Option<Type> {
    use Type::*;
    Some(match (a, b) {
        _ if a == b => a,
        (Int2 | Int4 | Int8, Int2 | Int4 | Int8) => Int8,
        (Float4 | Float8, Float4 | Float8) => Float8,
        (Date, Timestamp) | (Timestamp, Date) => Timestamp,
        _ => return None,
    })
}

/// Returns what an operator of integers or numerics computes.
fn arithmetic(function: u32) -> Option<Arithmetic> {
    use pgrx::pg_sys::*;
    Some(match function {
        F_INT2PL | F_INT4PL | F_INT8PL | F_INT24PL | F_INT42PL | F_INT28PL | F_INT82PL | F_INT48PL
        | F_INT84PL | F_NUMERIC_ADD => Arithmetic::Add,
        F_INT2MI | F_INT4MI | F_INT8MI | F_INT24MI | F_INT42MI | F_INT28MI | F_INT82MI | F_INT48MI
        | F_INT84MI | F_NUMERIC_SUB => Arithmetic::Subtract,
        F_INT2MUL | F_INT4MUL | F_INT8MUL | F_INT24MUL | F_INT42MUL | F_INT28MUL | F_INT82MUL
        | F_INT48MUL | F_INT84MUL | F_NUMERIC_MUL => Arithmetic::Multiply,
        F_INT2DIV | F_INT4DIV | F_INT8DIV | F_INT24DIV | F_INT42DIV | F_INT28DIV | F_INT82DIV
        | F_INT48DIV | F_INT84DIV | F_NUMERIC_DIV => Arithmetic::Divide,
        F_INT2MOD | F_INT4MOD | F_INT8MOD | F_NUMERIC_MOD => Arithmetic::Modulo,
        F_INT2AND | F_INT4AND | F_INT8AND => Arithmetic::BitAnd,
        F_INT2OR | F_INT4OR | F_INT8OR => Arithmetic::BitOr,
        F_INT2XOR | F_INT4XOR | F_INT8XOR => Arithmetic::BitXor,
        F_INT2SHL | F_INT4SHL | F_INT8SHL => Arithmetic::ShiftLeft,
        F_INT2SHR | F_INT4SHR | F_INT8SHR => Arithmetic::ShiftRight,
        _ => return None,
    })
}

/// Returns whether a function is NOT LIKE; `None` if it is neither that nor LIKE.
fn like(function: u32) -> Option<bool> {
    use pgrx::pg_sys::*;
    match function {
        F_TEXTLIKE | F_LIKE_TEXT_TEXT | F_BPCHARLIKE => Some(false),
        F_TEXTNLIKE | F_NOTLIKE_TEXT_TEXT | F_BPCHARNLIKE => Some(true),
        _ => None,
    }
}
