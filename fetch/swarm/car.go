package swarm

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/klauspost/compress/zstd"

	"pkg/lockfile/block"
)

// maxCARHeader is how many bytes the header of a CAR with one root has, at most.
const maxCARHeader = 1 << 10

// car asks a gateway for all blocks of a root, and passes them on as a pack. A gateway that does not have it says so in many
// ways, among them a long silence and an answer that ends before its first block.
func (h *HTTP) car(ctx context.Context, w Want, one Each) (found bool, err error) {
	u := h.Base.JoinPath("ipfs", w.Root.String())
	u.RawQuery = "format=car&dag-scope=all&car-order=dfs&car-dups=n"
	resp, err := h.do(ctx, http.MethodGet, u, nil)
	var status *statusError
	var refused *permanentError
	if errors.Is(err, errNoBatch) || errors.Is(err, errSilent) || errors.As(err, &status) || errors.As(err, &refused) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Close() }() // its errors came with the reads
	in := bufio.NewReaderSize(io.LimitReader(resp, 2*h.limit()), 64<<10)
	if err := begin(in); err != nil {
		return false, ctx.Err()
	}
	r, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = pw.CloseWithError(repack(pw, in)) // never fails
	}()
	err = one(w, -1, r)
	_ = r.Close() // never fails
	<-done
	return true, err
}

// begin reads the header of a CAR and looks whether there is more.
func begin(in *bufio.Reader) error {
	n, err := readUvarint(in)
	if err == nil && n > maxCARHeader {
		err = errFrame
	}
	if err == nil {
		_, err = in.Discard(int(n))
	}
	if err == nil {
		_, err = in.Peek(1)
	}
	return err
}

// repack turns what follows the header of a CAR into a pack: the sections are the same.
func repack(w io.Writer, in *bufio.Reader) error {
	enc, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false),
		zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		return fmt.Errorf("start the compressor: %w", err)
	}
	for err == nil {
		if _, err = in.Peek(1); errors.Is(err, io.EOF) {
			return enc.Close()
		}
		if err == nil {
			err = section(enc, in)
		}
	}
	enc.Reset(nil) // ends what it does at the side
	return cut(err)
}

// section copies one section. One of an identity CID, which carries its own content, is left out.
func section(w io.Writer, in *bufio.Reader) error {
	n, err := readUvarint(in)
	if err != nil {
		return err
	}
	if n < 4 || n > block.MaxSize+maxCID {
		return &permanentError{fmt.Errorf("%w: a section of %d bytes", errFrame, n)}
	}
	head, err := in.Peek(4)
	if err != nil {
		return err
	}
	if head[2] == 0 { // the code of the hash
		_, err = in.Discard(int(n)) //nolint:gosec // G115: bounded before
		return err
	}
	if _, err := w.Write(binary.AppendUvarint(nil, n)); err != nil {
		return err
	}
	_, err = io.CopyN(w, in, int64(n)) //nolint:gosec // G115: bounded before
	return err
}
