//! What one inference at a time uses and the next one can use again.

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;

/// Things that nobody uses at the moment: as many are made as are used at the same time.
#[derive(Debug)]
pub(super) struct Spares<T>(Rc<RefCell<Vec<T>>>);

impl<T> Default for Spares<T> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<T> Spares<T> {
    /// One that `fits`, if there is one.
    pub(super) fn take(&self, fits: impl Fn(&T) -> bool) -> Option<Lent<T>> {
        let mut spares = self.0.borrow_mut();
        let index = spares.iter().position(fits)?;
        let thing = spares.swap_remove(index);
        drop(spares);
        Some(self.lend(thing))
    }

    /// A new one, which comes here when it is no longer used.
    pub(super) fn lend(&self, thing: T) -> Lent<T> {
        Lent { thing: Some(thing), home: Rc::clone(&self.0) }
    }

    /// How many there are. For tests.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.borrow().len()
    }
}

/// A thing in use; it goes back when this is dropped.
pub(super) struct Lent<T> {
    thing: Option<T>,
    home: Rc<RefCell<Vec<T>>>,
}

impl<T> Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.thing.as_ref().expect("it goes back only when this is dropped")
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        self.home.borrow_mut().extend(self.thing.take());
    }
}
