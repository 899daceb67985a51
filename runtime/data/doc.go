// Package data feeds training: it reads data sets and arrays from files, draws a data set of its own, and deals batches.
//
//   - [ReadIDX] reads the idx format of MNIST, plain or gzip; [OpenIDXDir] the four files of such a data set.
//   - [ReadNPZ] and [WriteNPZ] carry named arrays from and to numpy.
//   - [Digits] draws a data set of digits from Go's fonts, so that a demonstration needs no download.
//   - [Open] chooses among these by a path or name, as a command line gives it.
//   - [Dataset] holds images and labels, [Loader] shuffles them and prepares batches in the background.
//
// A malformed file is a [FileError], which names the file, what was found, what was expected and the cure. No reader
// allocates on the word of a header: promised sizes are first compared with the size of the file.
package data
