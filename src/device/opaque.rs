//! Values that the compiler does not look into.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use wgpu::WasmNotSendSync;

/// A shared value behind a trait object. Generic types hold wgpu's objects this way.
///
/// The compiler proves of each [`Request`](crate::Request) that it can go to another thread, so it looks at every type in
/// its future. In a generic method it forgets what it found: it walked through all of wgpu again for each one, which was
/// 38 of the 44 seconds of a check of this crate. It does not look into a trait object, and [`new`](Self::new) proves the
/// bounds once for each type.
pub(crate) struct Opaque<T>(Arc<dyn Held<T>>);

trait Held<T>: WasmNotSendSync {
    fn get(&self) -> &T;
}

impl<T: WasmNotSendSync> Held<T> for T {
    fn get(&self) -> &T {
        self
    }
}

impl<T: WasmNotSendSync + 'static> Opaque<T> {
    pub fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Clone for Opaque<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Opaque<T> {
    type Target = T;

    fn deref(&self) -> &T {
        (*self.0).get()
    }
}

impl<T: fmt::Debug> fmt::Debug for Opaque<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
