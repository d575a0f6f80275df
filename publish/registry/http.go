//go:build unix

package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"pkg/fetch/gateway"
	"pkg/fetch/store"
	"pkg/fetch/swarm"
	"pkg/fetch/tracker"
	"pkg/keys/author"
	"pkg/publish"

	"github.com/ipfs/go-cid"
)

// Limits of the server. A peer that sends or takes nothing for stallTime is
// cut off, and so is one that sends less than pace on the whole; else how long
// an upload or download takes is up to its size. Connections are bounded in
// conns.go.
const (
	headerTime  = 10 * time.Second
	stallTime   = 30 * time.Second
	pace        = 4 << 10 // bytes a second
	idleTime    = 2 * time.Minute
	closeTime   = 20 * time.Second // for open requests, at shutdown
	headerBytes = 16 << 10
	maxBody     = publish.MaxEntries*(author.MaxEntry+16) + publish.MaxPacks*(publish.MaxPack+128)
	maxUploads  = 256 // POST /entry at once
)

// Handler serves the registry over HTTP: static files, POST /lookup, /content
// and /entry, packages to IPFS clients below /ipfs/, who else has them below
// /routing/, /healthz and /metrics.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	peers := tracker.New(tracker.Config{
		Registry: s.settings.ID, Shares: s.content.Has, Source: source, Now: s.cfg.Now,
	})
	content := (&swarm.Server{
		Store: s.content, Now: s.cfg.Now, Idle: stallTime,
		Elsewhere: func(root cid.Cid) bool {
			self, _ := s.self.Load().(string)
			return peers.Has(root, self)
		},
	}).Handler()
	finder := store.NewFinder(s.content)
	finder.Now = s.cfg.Now
	blocks := &gateway.Handler{Blocks: finder, Packs: finder, Now: s.cfg.Now}
	uploads := make(chan struct{}, maxUploads)
	mux.HandleFunc("POST /entry", func(w http.ResponseWriter, r *http.Request) {
		select {
		case uploads <- struct{}{}:
			defer func() { <-uploads }()
			s.postEntry(w, r)
		default:
			w.Header().Set("Retry-After", "1")
			fail(w, http.StatusServiceUnavailable, "the registry is busy", "try again in a second")
		}
	})
	mux.HandleFunc("POST /lookup", s.postLookup)
	mux.Handle("POST /content", content)
	mux.Handle("GET /packs/{root}", content)
	mux.HandleFunc("GET /head", s.getStatic)
	mux.HandleFunc("GET /checkpoint", s.getStatic)
	mux.HandleFunc("GET /trust/", s.getStatic)
	mux.HandleFunc("GET /tile/", s.getStatic)
	mux.HandleFunc("GET /ipfs/", func(w http.ResponseWriter, r *http.Request) {
		if trustless(r) {
			blocks.ServeHTTP(w, r)
			return
		}
		s.getStatic(w, r)
	})
	mux.Handle("/routing/", peers.Handler())
	mux.HandleFunc("GET /healthz", s.getHealth)
	mux.HandleFunc("GET /metrics", s.getMetrics)
	return patient(mux)
}

// source says where a request comes from. A proxy on this machine speaks for
// the client that it names last; the address is invalid if that is none.
func source(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	via := r.Header.Values("X-Forwarded-For")
	if !at.Addr().Unmap().IsLoopback() || len(via) == 0 {
		return at.Addr()
	}
	last := via[len(via)-1]
	ip, err := netip.ParseAddr(strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:]))
	if err != nil {
		return netip.Addr{}
	}
	return ip
}

// Serve serves s on l until ctx is done, then lets open requests finish and
// closes s. It closes l. At most 1,024 connections stand at a time.
func Serve(ctx context.Context, s *Server, l net.Listener) error {
	bounded := newConns(l, cmp.Or(s.cfg.hooks.conns, maxConns))
	server := &http.Server{
		Handler:           s.Handler(),
		ConnState:         bounded.state,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       stallTime,
		WriteTimeout:      stallTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    headerBytes,
		ErrorLog:          nil,
	}
	if s.cfg.Logger != nil {
		server.ErrorLog = newErrorLog(s.cfg.Logger)
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(bounded) }()
	var err error
	select {
	case err = <-failed:
		err = errors.Join(err, server.Close())
	case <-ctx.Done():
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		if err = server.Shutdown(drain); err != nil {
			err = errors.Join(fmt.Errorf("shut down: %w", err), server.Close())
		}
		<-failed // http.ErrServerClosed
	}
	return errors.Join(err, s.Close())
}

// postEntry records a submission.
func (s *Server) postEntry(w http.ResponseWriter, r *http.Request) {
	s.counters.submissions.Add(1)
	receipt, err := s.readSubmission(r.Context(), http.MaxBytesReader(w, r.Body, maxBody), r.RemoteAddr)
	if err == nil {
		answerJSON(w, http.StatusOK, receipt)
		return
	}
	var refused *publish.RefusedError
	var unconfirmed *unconfirmedError
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &refused):
		s.counters.refused.Add(1)
		if refused.Status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "60")
		}
		fail(w, refused.Status, refused.Reason, refused.Help)
		return
	case errors.As(err, &large):
		fail(w, http.StatusRequestEntityTooLarge, "the submission is too large", "")
		return
	case r.Context().Err() != nil:
		return // nobody is listening
	}
	s.counters.failures.Add(1)
	s.cfg.Logger.ErrorContext(r.Context(), "submission", slog.Any("error", err))
	switch {
	case errors.Is(err, syscall.ENOSPC):
		fail(w, http.StatusInsufficientStorage, "the registry's disk is full", "tell its operator")
	case errors.As(err, &unconfirmed), errors.Is(err, ErrClosed):
		fail(w, http.StatusServiceUnavailable, "the registry could not confirm the submission", "publish again: what was recorded is not recorded twice")
	default:
		fail(w, http.StatusInternalServerError, "the registry failed to handle the submission", "publish again later")
	}
}

func (s *Server) readSubmission(ctx context.Context, body io.Reader, addr string) (Receipt, error) {
	in := publish.NewSubmissionReader(body)
	raws, err := in.Entries()
	if err != nil {
		return Receipt{}, malformed(err)
	}
	w, err := s.decode(raws)
	if err != nil {
		return Receipt{}, err
	}
	if err := s.limit(w, addr); err != nil {
		return Receipt{}, err
	}
	if err := s.precheck(ctx, w); err != nil {
		return Receipt{}, err
	}
	packs := s.newPacks(w)
	for {
		root, _, r, err := in.Pack()
		if errors.Is(err, io.EOF) {
			return s.record(ctx, w, packs)
		}
		if err != nil {
			return Receipt{}, errors.Join(malformed(err), packs.discard())
		}
		if err := packs.put(ctx, root, r); err != nil {
			return Receipt{}, errors.Join(err, packs.discard())
		}
	}
}

func malformed(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return err
	}
	return refuse(http.StatusBadRequest, "", "the submission cannot be read: %v", err)
}

// limit holds the claims of a submission against the rates of their keys and of
// the address they came from.
func (s *Server) limit(w *work, remote string) error {
	addr, err := netip.ParseAddrPort(remote)
	if err == nil && addr.Addr().Unmap().IsLoopback() {
		return nil
	}
	claims, all := map[string]int{}, 0
	for _, e := range w.entries {
		if e.Body.Kind != author.KindGenesis {
			continue
		}
		if _, known := s.nameOf(e.ID()); known {
			continue
		}
		for _, sig := range e.Signatures { // anybody can name the keys of others
			claims["key "+string(sig.Key[:])]++
		}
		all++
	}
	// The address comes first: keys cost nothing, and one that is refused must not fill the rates with them.
	now := s.cfg.Now()
	ok := s.rates.take("address "+network(addr.Addr()), all, now)
	for who, n := range claims {
		ok = ok && s.rates.take(who, n, now)
	}
	if !ok {
		return refuse(http.StatusTooManyRequests, "wait a while, then publish again",
			"more than %d new names in an hour", s.cfg.ClaimsPerHour)
	}
	return nil
}

// network is what counts as one address: all of a customer's IPv6 prefix.
func network(a netip.Addr) string {
	a = a.Unmap()
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// fail answers with the error body of every endpoint.
func fail(w http.ResponseWriter, status int, reason, help string) {
	answerJSON(w, status, struct {
		Error string `json:"error"`
		Help  string `json:"help,omitempty"`
	}{reason, help})
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"no answer"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the peer may be gone; there is nobody else to tell
}
