//! Reading ahead: a thread reads the next windows while the device works on the current one.

use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, Scope, scope};
use std::time::{Duration, Instant};

use crate::coded::{Codes, Logits, row_words};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::eval::memory::READ_AHEAD;
use crate::eval::source::{Source, values_of};
use crate::shape::Shape;

/// Values in memory, or the source that they are read from, as values or as codes.
pub(super) enum Feed<'s, E: Element> {
    There(&'s [E]),
    Read(&'s mut dyn Source<E>),
    Codes(&'s mut dyn Source<E>),
}

impl<'s, E: Element> Feed<'s, E> {
    pub fn of(source: &'s mut dyn Source<E>) -> Self {
        // The borrow checker extends the borrow of a returned value to all paths, so the values are asked for twice.
        if source.values().is_none() {
            return Self::Read(source);
        }
        Self::There(source.values().unwrap_or_default())
    }

    /// Its codes, if the kernels take them.
    pub fn coded(source: &'s mut dyn Source<E>, are_coded: bool) -> Self {
        if are_coded { Self::Codes(source) } else { Self::of(source) }
    }

    /// Splits into values in memory and what has to be read.
    fn split(self) -> (Option<&'s [E]>, Option<ToRead<'s, E>>) {
        match self {
            Self::There(values) => (Some(values), None),
            Self::Read(source) => (None, Some(ToRead { source, codes: false })),
            Self::Codes(source) => (None, Some(ToRead { source, codes: true })),
        }
    }
}

/// What is read window by window.
struct ToRead<'s, E: Element> {
    source: &'s mut dyn Source<E>,
    codes: bool,
}

impl<E: Element> ToRead<'_, E> {
    fn read(
        &mut self,
        shape: Shape,
        rows: Range<usize>,
        what: &'static str,
        into: &mut Part<E>,
    ) -> Result<()> {
        if self.codes {
            resize(&mut into.codes, rows.len() * row_words(shape.cols), what)?;
            return self.source.read_codes(rows, &mut into.codes);
        }
        resize(&mut into.values, shape.with_rows(rows.len()).len(), what)?;
        self.source.read_rows(rows, &mut into.values)
    }
}

/// What was read of one array, in one form or the other.
struct Part<E> {
    values: Vec<E>,
    codes: Vec<u16>,
}

impl<E> Default for Part<E> {
    fn default() -> Self {
        Self { values: Vec::new(), codes: Vec::new() }
    }
}

impl<E> Part<E> {
    fn is_empty(&self) -> bool {
        self.values.is_empty() && self.codes.is_empty()
    }

    fn read(&self) -> Logits<'_, E> {
        if self.codes.is_empty() { Logits::Values(&self.values) } else { Logits::Codes(Codes(&self.codes)) }
    }
}

/// Buffers of one window, for what was read.
struct Slab<E, S> {
    logits: Part<E>,
    second: Part<S>,
    took: Duration,
}

impl<E, S> Default for Slab<E, S> {
    fn default() -> Self {
        Self { logits: Part::default(), second: Part::default(), took: Duration::ZERO }
    }
}

/// Windows in row order.
struct Windows<'s, E, S> {
    shape: Shape,
    logits: Option<&'s [E]>,
    second: Option<&'s [S]>,
    read: Option<Reader<E, S>>,
    /// The buffers of the last window.
    slab: Slab<E, S>,
}

/// The channels to and from the reading thread: full slabs come, empty ones go back.
struct Reader<E, S> {
    full: Receiver<Result<Slab<E, S>>>,
    empty: Sender<Slab<E, S>>,
}

/// The logits of a range of rows, and their part of a second array with the logits' layout if one is read.
pub(super) struct Values<'w, E, S> {
    pub logits: Logits<'w, E>,
    pub second: Option<Logits<'w, S>>,
}

impl<'w, E, S> Values<'w, E, S> {
    /// The second array's values, if it has come as values.
    pub fn second_values(&self) -> Option<&'w [S]> {
        match self.second {
            Some(Logits::Values(values)) => Some(values),
            _ => None,
        }
    }
}

impl<'s, E: Element, S: Element> Windows<'s, E, S> {
    /// Starts to read the windows of these rows, unless everything is in memory.
    ///
    /// # Errors
    /// [`Error::NoThread`].
    fn new<'scope>(
        scope: &'scope Scope<'scope, '_>,
        shape: Shape,
        rows: impl Iterator<Item = Range<usize>> + Send + 's,
        logits: Feed<'s, E>,
        second: Option<Feed<'s, S>>,
    ) -> Result<Self>
    where
        's: 'scope,
    {
        let (logits, mut read_logits) = logits.split();
        let (second, mut read_second) = second.map_or((None, None), Feed::split);
        let mut windows = Self { shape, logits, second, read: None, slab: Slab::default() };
        if read_logits.is_none() && read_second.is_none() {
            return Ok(windows);
        }
        let (read, full) = sync_channel(READ_AHEAD);
        let (empty, to_read) = channel();
        for _ in 0..READ_AHEAD {
            let _ = empty.send(Slab::default());
        }
        let fill = move |rows: Range<usize>, mut slab: Slab<E, S>| {
            let start = Instant::now();
            if let Some(source) = &mut read_logits {
                source.read(shape, rows.clone(), "a window of the source", &mut slab.logits)?;
            }
            if let Some(source) = &mut read_second {
                source.read(shape, rows, "a window of the second source", &mut slab.second)?;
            }
            slab.took = start.elapsed();
            Ok(slab)
        };
        let reader = Builder::new().name("xent::read_ahead".to_owned());
        reader
            .spawn_scoped(scope, move || read_all(rows, fill, &read, &to_read))
            .map_err(|error| Error::NoThread { what: "reading ahead", message: error.to_string() })?;
        windows.read = Some(Reader { full, empty });
        Ok(windows)
    }

    /// The next window. The buffers of the previous window are reused. The reading time of its sources is added to
    /// `reading`.
    fn next(&mut self, rows: Range<usize>, reading: &mut Duration) -> Result<Values<'_, E, S>> {
        if let Some(Reader { full, empty }) = &self.read {
            let before = std::mem::take(&mut self.slab);
            if !(before.logits.is_empty() && before.second.is_empty()) {
                // A reader that has finished takes no more slabs.
                let _ = empty.send(before);
            }
            self.slab = full.recv().unwrap_or_else(|_| Err(reader_is_gone()))?;
            *reading += self.slab.took;
        }
        let part = values_of(self.shape, rows)?;
        Ok(Values {
            logits: match self.logits {
                Some(all) => all[part.clone()].into(),
                None => self.slab.logits.read(),
            },
            second: match self.second {
                Some(all) => Some(all[part].into()),
                None if self.slab.second.is_empty() => None,
                None => Some(self.slab.second.read()),
            },
        })
    }
}

/// Sends windows of `step` of these rows through `state`. While one window is in flight, the next is
/// submitted and those after it are read; then the first is landed.
pub(super) fn through<'s, E: Element, S: Element, V, T>(
    state: &mut V,
    (shape, rows, step): (Shape, Range<usize>, usize),
    (logits, second): (Feed<'s, E>, Option<Feed<'s, S>>),
    reading: &mut Duration,
    mut submit: impl FnMut(&mut V, Range<usize>, &Values<'_, E, S>) -> Result<T>,
    mut land: impl FnMut(&mut V, T) -> Result<()>,
) -> Result<()> {
    let end = rows.end;
    let rows = rows.step_by(step).map(move |row| row..end.min(row.saturating_add(step)));
    scope(|scope| {
        let mut windows = Windows::new(scope, shape, rows.clone(), logits, second)?;
        let mut under_way = None;
        for rows in rows {
            let values = windows.next(rows.clone(), reading)?;
            let next = submit(state, rows, &values)?;
            if let Some(before) = under_way.replace(next) {
                land(state, before)?;
            }
        }
        under_way.map_or(Ok(()), |last| land(state, last))
    })
}

/// Reads one window after another, until they end, one fails, or the receiver is gone.
fn read_all<S>(
    rows: impl Iterator<Item = Range<usize>>,
    mut fill: impl FnMut(Range<usize>, S) -> Result<S>,
    full: &SyncSender<Result<S>>,
    empty: &Receiver<S>,
) {
    for rows in rows {
        let Ok(slab) = empty.recv() else { return };
        let read = fill(rows, slab);
        let failed = read.is_err();
        if full.send(read).is_err() || failed {
            return;
        }
    }
}

fn resize<T: Clone + Default>(into: &mut Vec<T>, len: usize, what: &'static str) -> Result<()> {
    if into.capacity() < len && into.try_reserve_exact(len - into.len()).is_err() {
        let message = format!("{len} values do not fit into memory");
        return Err(Error::OutOfMemory { what: what.to_owned(), message });
    }
    into.resize(len, T::default());
    Ok(())
}

fn reader_is_gone() -> Error {
    Error::Device { what: "reading ahead".to_owned(), message: "the reading thread ended".to_owned() }
}
