// Package catalog reads registries, proves what they say, and keeps what was
// proved.
//
// A [Registry] is one of them, read through a [Source] of bytes by name: [HTTP],
// or [Dir] for the embedded one. Nothing a source gives is trusted. What a
// registry says of a name is believed in the order of package namespace:
//
//  1. its trust roots, from the one whose CID is the registry's id upwards;
//  2. a checkpoint signed by its log and enough witnesses;
//  3. that the head is not from the future, nor so old that somebody may be
//     holding newer ones back;
//  4. that it continues the head this machine saw last, which is replaced, by
//     compare-and-swap and on the disk, before anything else is done;
//  5. the commit that is the last leaf, and in it the root of the map;
//  6. the record of the name in the map, or the proof that there is none;
//  7. that the record continues what was known of the name;
//  8. the author's log: new pages only, every signature, the root at the end.
//
// The [Catalog] made of registries hands the result to package resolve, whose
// rules 9 and after take it from there.
//
// A source's lookup ([LookupRequest], [ReadSections]) saves round trips and
// nothing else: its answer fills a cache of blocks, each checked against its CID,
// and brings a head and a consistency proof that are verified as if they had been
// read from static files. What is missing, cut short or wrong in it is read the
// slow way.
//
// There are three ways not to know. A name that is proved absent is a
// *resolve.NotFoundError. A name of which nothing can be told now (offline, no
// network, a block the server lost) is a *resolve.UnavailableError. And a
// contradiction is a *keys.TrustError: it is never tried again in a run, and both
// sides are kept as evidence.
//
// The first contact with a URL pins the id of the registry found there unless the
// caller names one; [Registry.Pinned] says so.
package catalog
