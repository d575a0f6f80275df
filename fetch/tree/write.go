package tree

import (
	"context"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
)

const (
	// batchBytes and batchItems bound what one writer goroutine takes at a time, in memory and in open directories.
	batchBytes = 128 << 10
	batchItems = 64
	// maxWriters is where more goroutines stop helping: they meet at the file system's locks.
	maxWriters = 4
)

// writer emits files under root: batches of verified leaves go to a few goroutines, in order. A leaf that is needed
// again is read back from where it was written first.
type writer struct {
	root    *os.Root
	top     *outDir
	cur     *batch
	idle    chan *batch
	jobs    chan *batch
	written []chan struct{} // by place in index.Blocks: closed once the batch with that leaf is done
	wg      sync.WaitGroup

	failed atomic.Bool
	mu     sync.Mutex // guards err
	err    error
}

// batch is some leaves in one buffer.
type batch struct {
	buf   []byte
	items []item
	done  chan struct{}
}

// item is one leaf to be written to a file.
type item struct {
	file *outFile
	off  int64

	data []byte // of the batch's buffer; nil if it is read back
	to   address

	src    string // the file to read it back from
	srcOff int64
	size   int
	wait   chan struct{} // closed when src holds it; nil if it does already
}

func startWriter(ctx context.Context, root *os.Root) *writer {
	n := min(runtime.GOMAXPROCS(0), maxWriters)
	w := &writer{root: root, jobs: make(chan *batch, 2*n), idle: make(chan *batch, 2*n)}
	w.top = &outDir{w: w, root: root, keep: true}
	w.top.refs.Store(1)
	for range cap(w.idle) {
		w.idle <- &batch{}
	}
	for range n {
		w.wg.Go(func() { w.work(ctx) })
	}
	return w
}

// finish waits until everything is written and returns the first error.
func (w *writer) finish(abort bool) error {
	if abort {
		w.failed.Store(true)
	}
	w.send()
	close(w.jobs)
	w.wg.Wait()
	return w.err
}

func (w *writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.failed.Store(true)
}

// open makes sure that there is a batch to add to.
func (w *writer) open() error {
	if w.failed.Load() {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.err
	}
	if w.cur == nil {
		w.cur = <-w.idle
		w.cur.buf, w.cur.items = w.cur.buf[:0], w.cur.items[:0]
		w.cur.done = make(chan struct{})
	}
	return nil
}

// send hands the current batch to the goroutines.
func (w *writer) send() {
	if w.cur != nil {
		w.jobs <- w.cur
		w.cur = nil
	}
}

// room returns size bytes to be filled with a leaf and passed to leaf.
func (w *writer) room(size int) ([]byte, error) {
	if w.cur != nil && len(w.cur.buf)+size > cap(w.cur.buf) && len(w.cur.buf) > 0 {
		w.send()
	}
	if err := w.open(); err != nil {
		return nil, err
	}
	b := w.cur
	if cap(b.buf) < size {
		b.buf = make([]byte, 0, max(size, batchBytes))
	}
	at := len(b.buf)
	b.buf = b.buf[:at+size]
	return b.buf[at : at+size : at+size], nil
}

// leaf queues the leaf that was read into data, the last room given.
func (w *writer) leaf(f *outFile, off int64, block int, to address, data []byte) {
	for len(w.written) <= block {
		w.written = append(w.written, nil)
	}
	w.written[block] = w.cur.done
	w.add(item{file: f, off: off, to: to, data: data})
}

// again queues a leaf that was written before.
func (w *writer) again(f *outFile, off int64, block int, src string, srcOff int64, size int) error {
	if err := w.open(); err != nil {
		return err
	}
	wait := w.written[block]
	if wait == w.cur.done {
		wait = nil // earlier in the same batch
	}
	w.add(item{file: f, off: off, src: src, srcOff: srcOff, size: size, wait: wait})
	return nil
}

func (w *writer) add(it item) {
	it.file.refs.Add(1)
	w.cur.items = append(w.cur.items, it)
	if len(w.cur.items) == batchItems {
		w.send()
	}
}

func (w *writer) work(ctx context.Context) {
	var last again
	for b := range w.jobs {
		for i := range b.items {
			it := &b.items[i]
			if err := ctx.Err(); err != nil {
				w.fail(err)
			}
			if !w.failed.Load() {
				if err := w.emit(it, &last); err != nil {
					w.fail(err)
				}
			}
			it.file.release()
		}
		close(b.done)
		clear(b.items)
		w.idle <- b
	}
}

// emit verifies one leaf and writes it.
func (w *writer) emit(it *item, last *again) error {
	data := it.data
	if data != nil {
		if got := sum(rawLeaf, data); got != it.to {
			return &HashError{Want: it.to.cid(), Got: got.cid(), Path: it.file.path}
		}
	} else {
		if it.wait != nil {
			<-it.wait
			if w.failed.Load() {
				return nil
			}
		}
		var err error
		if data, err = last.read(w.root, it); err != nil {
			return err
		}
	}
	return it.file.write(data, it.off)
}

// again is the leaf that a goroutine read back last: often the next one is the same, a licence in every folder.
type again struct {
	buf []byte
	src string
	off int64
	n   int
}

func (a *again) read(root *os.Root, it *item) ([]byte, error) {
	if a.src == it.src && a.off == it.srcOff && a.n == it.size {
		return a.buf[:a.n], nil
	}
	if cap(a.buf) < it.size {
		a.buf = make([]byte, max(it.size, batchBytes))
	}
	a.src = ""
	f, err := root.Open(it.src)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	if n, err := f.ReadAt(a.buf[:it.size], it.srcOff); n < it.size {
		return nil, err
	}
	a.src, a.off, a.n = it.src, it.srcOff, it.size
	return a.buf[:a.n], nil
}

// outDir is a directory being filled. It is open while anything in it is still to be made.
type outDir struct {
	w    *writer
	root *os.Root
	refs atomic.Int32
	keep bool // the caller's, not ours to close
}

func (d *outDir) mkdir(name string) (*outDir, error) {
	if err := d.root.Mkdir(name, 0o755); err != nil {
		return nil, err
	}
	r, err := d.root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	sub := &outDir{w: d.w, root: r}
	sub.refs.Store(1)
	return sub, nil
}

func (d *outDir) release() {
	if d.refs.Add(-1) == 0 && !d.keep {
		if err := d.root.Close(); err != nil {
			d.w.fail(err)
		}
	}
}

// outFile is a file being written. It is made by its first write, or by its release if it is empty.
type outFile struct {
	dir  *outDir
	name string
	path string
	exec bool
	refs atomic.Int32

	mu sync.Mutex // guards f: chunks of one file may be written side by side
	f  *os.File
}

// file starts a file; it holds one reference for the caller.
func (w *writer) file(dir *outDir, name, path string, exec bool) *outFile {
	f := &outFile{dir: dir, name: name, path: path, exec: exec}
	f.refs.Store(1)
	dir.refs.Add(1)
	return f
}

func (f *outFile) open() (*os.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f != nil {
		return f.f, nil
	}
	perm := os.FileMode(0o444)
	if f.exec {
		perm = 0o555
	}
	var err error
	f.f, err = f.dir.root.OpenFile(f.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	return f.f, err
}

func (f *outFile) write(data []byte, off int64) error {
	w, err := f.open()
	if err != nil {
		return err
	}
	_, err = w.WriteAt(data, off)
	return err
}

func (f *outFile) release() {
	if f.refs.Add(-1) > 0 {
		return
	}
	defer f.dir.release()
	w := f.f
	if w == nil {
		if f.dir.w.failed.Load() {
			return
		}
		var err error
		if w, err = f.open(); err != nil {
			f.dir.w.fail(err)
			return
		}
	}
	if err := w.Close(); err != nil {
		f.dir.w.fail(err)
	}
}
