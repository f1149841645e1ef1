//! Putting things in order, in few bytes: a module carries one sort per type that is sorted, and the standard library's are large.

use std::cmp::Ordering;

/// The items in ascending order; equal ones keep theirs. For configurations, not for requests.
pub(crate) fn sorted<T>(mut items: Vec<T>, compare: &mut dyn FnMut(&T, &T) -> Ordering) -> Vec<T> {
    if items.len() < 2 {
        return items;
    }
    let right = items.split_off(items.len().div_ceil(2));
    let mut merged = Vec::with_capacity(items.len().saturating_add(right.len()));
    let mut left = sorted(items, compare).into_iter().peekable();
    for item in sorted(right, compare) {
        while let Some(first) = left.next_if(|first| compare(first, &item) != Ordering::Greater) {
            merged.push(first);
        }
        merged.push(item);
    }
    merged.extend(left);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    sentences! {
        fn equal_items_keep_their_order() {
            let items = vec![(2, 'a'), (1, 'b'), (2, 'c'), (1, 'd'), (0, 'e')];
            let expected = vec![(0, 'e'), (1, 'b'), (1, 'd'), (2, 'a'), (2, 'c')];
            assert_eq!(sorted(items, &mut |a, b| a.0.cmp(&b.0)), expected);
            assert!(sorted(Vec::<u8>::new(), &mut Ord::cmp).is_empty());
        }
    }

    #[cfg(not(target_family = "wasm"))]
    mod laws {
        use super::super::*;
        use proptest::prelude::*;

        proptest! {
            #[test]
            fn it_is_the_order_of_the_standard_library(items in prop::collection::vec(0u8..20, 0..200)) {
                let numbered: Vec<(u8, usize)> = items.into_iter().zip(0..).collect();
                let mut expected = numbered.clone();
                expected.sort_by_key(|item| item.0);
                prop_assert_eq!(sorted(numbered, &mut |a, b| a.0.cmp(&b.0)), expected);
            }
        }
    }
}
