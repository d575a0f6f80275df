package author

import (
	"fmt"
	"slices"
	"strings"

	"pkg/keys"
	"pkg/lockfile/name"
)

// authorise checks that those who signed e, recorded at at, may say what it says (see the package comment).
func (s *State) authorise(e Entry, at Recorded) error {
	b := &e.Body
	switch b.Kind {
	case KindGenesis:
		if !b.Genesis.Root.Met(e.Signatures) {
			return s.unauthorised(e, "the genesis is not signed by its own root keys", b.Genesis.Root)
		}
		if author := b.Genesis.Root.Keys[0]; !keys.Signed(e.Signatures, author) {
			return s.unauthorised(e, "the genesis is not signed by the key that the package is to be known by", Single(author))
		}
		return nil // others may agree to a claim, as the owner of its scope
	case KindRelease, KindYank, KindUnyank, KindDeprecate:
		if err := s.mayRelease(e, at); err != nil {
			return err
		}
		return s.noStrangers(e, RootSet{})
	case KindKeys:
		if err := s.mayRotate(e); err != nil {
			return err
		}
		return s.noStrangers(e, b.Keys.Root)
	}
	if !s.Root.Met(e.Signatures) {
		return s.unauthorised(e, "the entry is not signed by the root keys", s.Root)
	}
	return s.noStrangers(e, RootSet{})
}

// mayRelease accepts a release key that is valid when the entry is recorded, or the root set.
func (s *State) mayRelease(e Entry, at Recorded) error {
	if s.Root.Met(e.Signatures) {
		return nil
	}
	var expired *ReleaseKey
	for _, k := range s.ReleaseKeys {
		if !keys.Signed(e.Signatures, k.Key) {
			continue
		}
		if k.valid(at.T) {
			return nil
		}
		expired = &k
	}
	if expired != nil {
		return s.refuse(e, "the release key had expired when the entry was recorded",
			fmt.Sprintf("valid until %d", expired.Until), fmt.Sprintf("recorded at %d", at.T))
	}
	return s.unauthorised(e, "the entry is signed by no key that may release", s.Root)
}

// mayRotate accepts the root set together with the next one, which must be the one announced.
func (s *State) mayRotate(e Entry) error {
	next := e.Body.Keys.Root
	switch {
	case !s.Root.Met(e.Signatures):
		return s.unauthorised(e, "the new keys are not signed by the root keys", s.Root)
	case !next.Met(e.Signatures):
		return s.unauthorised(e, "the new keys did not sign for themselves", next)
	case s.Next != nil && RootHash(next) != *s.Next:
		hash := RootHash(next)
		return s.refuse(e, "the new root keys are not those announced",
			fmt.Sprintf("%x", s.Next[:]), fmt.Sprintf("%x", hash[:]))
	}
	return nil
}

// noStrangers refuses signatures of keys that have no part in the package: an entry has one set of signatures, that its
// author chose.
func (s *State) noStrangers(e Entry, more RootSet) error {
	for _, sig := range e.Signatures {
		if s.Root.Has(sig.Key) || more.Has(sig.Key) || s.isReleaseKey(sig.Key) {
			continue
		}
		return s.refuse(e, "a stranger signed the entry too", "", string(name.AuthorOf(sig.Key)))
	}
	return nil
}

func (s *State) isReleaseKey(key [32]byte) bool {
	return slices.ContainsFunc(s.ReleaseKeys, func(k ReleaseKey) bool { return k.Key == key })
}

// signer names the key that a release counts as signed by: the author's if it signed, else a valid release key, else the
// first root key that signed.
func (s *State) signer(e Entry, at Recorded) name.Author {
	for _, sig := range e.Signatures {
		if a := name.AuthorOf(sig.Key); a == s.Author {
			return a
		}
	}
	for _, k := range s.ReleaseKeys {
		if k.valid(at.T) && keys.Signed(e.Signatures, k.Key) {
			return name.AuthorOf(k.Key)
		}
	}
	return name.AuthorOf(e.Signatures[0].Key)
}

func (s *State) unauthorised(e Entry, what string, want RootSet) error {
	var ours, theirs []string
	for _, k := range want.Keys {
		ours = append(ours, string(name.AuthorOf(k)))
	}
	for _, sig := range e.Signatures {
		theirs = append(theirs, string(name.AuthorOf(sig.Key)))
	}
	return s.refuse(e, what,
		fmt.Sprintf("%d of %s", want.Threshold, strings.Join(ours, ", ")), "signed by "+strings.Join(theirs, ", "))
}
