//! Putting things in order, in few bytes: a module carries one sort per type that is sorted, and the standard library's are large.

use std::cmp::Ordering;

/// The items in ascending order; equal ones keep theirs. For configurations, not for requests.
pub(crate) fn sorted<T>(items: Vec<T>, compare: &mut dyn FnMut(&T, &T) -> Ordering) -> Vec<T> {
    let places = (0..items.len()).collect();
    let places = merged(places, &mut |a, b| match (items.get(a), items.get(b)) {
        (Some(a), Some(b)) => compare(a, b),
        _ => Ordering::Equal,
    });
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    places.into_iter().filter_map(|place| items.get_mut(place)?.take()).collect()
}

/// Merge sort over places, once for all types.
fn merged(mut places: Vec<usize>, compare: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    if places.len() < 2 {
        return places;
    }
    let right = places.split_off(places.len().div_ceil(2));
    let mut all = Vec::with_capacity(places.len().saturating_add(right.len()));
    let mut left = merged(places, compare).into_iter().peekable();
    for place in merged(right, compare) {
        while let Some(first) = left.next_if(|first| compare(*first, place) != Ordering::Greater) {
            all.push(first);
        }
        all.push(place);
    }
    all.extend(left);
    all
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
