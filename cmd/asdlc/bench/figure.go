package bench

import (
	"fmt"
	"image/color"
	"io"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Formats lists what Figure writes, as ends of file names.
func Formats() []string { return []string{".png", ".svg", ".html"} }

// Figure draws the throughput and the memory of methods relative to stochastic gradient descent: a column of two panels for
// each model, in them a group of bars for each method, a bar for each batch size and interval.
func Figure(w io.Writer, format string, results []*Result) error {
	f, err := newFigure(results)
	if err != nil {
		return err
	}
	switch format {
	case ".png":
		c := vgimg.NewWith(vgimg.UseWH(f.width(), f.height()), vgimg.UseDPI(144))
		f.draw(draw.New(c))
		_, err = vgimg.PngCanvas{Canvas: c}.WriteTo(w)
	case ".svg":
		err = f.svg(w)
	case ".html":
		err = f.page(w, results)
	default:
		err = fmt.Errorf("no figures of format %q", format)
	}
	return err
}

// barKey is what the colour of a bar tells.
type barKey struct {
	batch int64
	every int
}

func (k barKey) String() string {
	if k.every == 0 {
		return fmt.Sprintf("batch %d", k.batch)
	}
	return fmt.Sprintf("batch %d, T = %d", k.batch, k.every)
}

func keyOf(r *Result) barKey { return barKey{r.Batch, r.Every} }

// figure is a grid of panels: quantities in rows, models in columns.
type figure struct {
	models  []string
	methods []string // of all models
	keys    []barKey
	panels  [][]*plot.Plot
	legend  plot.Legend
}

// quantities are the rows of the figure.
var quantities = []struct {
	label string
	of    func(*Result) float64
}{
	{"throughput / SGD", func(r *Result) float64 { return r.Throughput.Median }},
	{"memory / SGD", func(r *Result) float64 {
		if r.Memory == 0 { // not measured on this system
			return r.Planned
		}
		return r.Memory
	}},
}

// Lengths in points.
const (
	barWidth    vg.Length = 9
	panelHeight vg.Length = 190
	legendWidth vg.Length = 110
	padding     vg.Length = 8
)

func newFigure(results []*Result) (*figure, error) {
	f := &figure{legend: plot.NewLegend()}
	for _, r := range results {
		f.models = with(f.models, r.Model)
		if r.Method != "sgd" {
			f.methods, f.keys = with(f.methods, r.Method), with(f.keys, keyOf(r))
		}
	}
	for i, q := range quantities {
		var row []*plot.Plot
		for _, model := range f.models {
			values := map[string]map[barKey]float64{}
			for _, r := range results {
				if r.Model == model && r.Method != "sgd" {
					if values[r.Method] == nil {
						values[r.Method] = map[barKey]float64{}
					}
					values[r.Method][keyOf(r)] = q.of(r)
				}
			}
			p, err := f.panel(q.label, values, i == 0 && len(row) == 0)
			if err != nil {
				return nil, err
			}
			if i == 0 {
				p.Title.Text = Label(model)
			}
			row = append(row, p)
		}
		f.panels = append(f.panels, row)
	}
	return f, nil
}

// with is a list with an item, once.
func with[T comparable](list []T, item T) []T {
	if slices.Contains(list, item) {
		return list
	}
	return append(list, item)
}

// panel draws bars by method and key, and the line at 1.
func (f *figure) panel(label string, values map[string]map[barKey]float64, legend bool) (*plot.Plot, error) {
	p := plot.New()
	p.Y.Label.Text = label
	p.Y.Min = 0
	for i, key := range f.keys {
		heights := make(plotter.Values, len(f.methods))
		for j, m := range f.methods {
			heights[j] = values[m][key]
		}
		if len(heights) == 0 {
			continue
		}
		bars, err := plotter.NewBarChart(heights, barWidth)
		if err != nil {
			return nil, err
		}
		bars.LineStyle.Width = 0
		bars.Color = f.color(key)
		bars.Offset = barWidth * (vg.Length(i) - vg.Length(len(f.keys)-1)/2)
		p.Add(bars)
		if legend {
			f.legend.Add(key.String(), bars)
		}
	}
	sgd := plotter.NewFunction(func(float64) float64 { return 1 })
	sgd.Color = color.Gray{90}
	sgd.Dashes = []vg.Length{3, 3}
	p.Add(sgd)
	if legend {
		f.legend.Add("SGD", sgd)
	}
	p.X.Min, p.X.Max = -0.5, float64(max(1, len(f.methods)))-0.5
	p.Y.Max = max(p.Y.Max, 1) * 1.05
	var names []string
	for _, m := range f.methods {
		names = append(names, Label(m))
	}
	if len(names) == 0 {
		p.HideX()
	} else {
		p.NominalX(names...)
	}
	return p, nil
}

// color is a hue for the batch size, the paler the later the interval comes.
func (f *figure) color(key barKey) color.Color {
	var batches []int64
	var every []int
	for _, k := range f.keys {
		batches, every = with(batches, k.batch), with(every, k.every)
	}
	r, g, b, _ := plotutil.Color(slices.Index(batches, key.batch)).RGBA()
	share := float64(slices.Index(every, key.every)) / float64(len(every))
	paler := func(v uint32) uint8 { return uint8(float64(v>>8) + share*(255-float64(v>>8))) }
	return color.RGBA{paler(r), paler(g), paler(b), 255}
}

func (f *figure) panelWidth() vg.Length {
	group := max(vg.Length(len(f.keys)+1)*barWidth, 60)
	return 60 + group*vg.Length(max(1, len(f.methods)))
}

func (f *figure) width() vg.Length {
	return f.panelWidth()*vg.Length(max(1, len(f.models))) + legendWidth
}

func (f *figure) height() vg.Length { return panelHeight * vg.Length(len(quantities)) }

func (f *figure) draw(c draw.Canvas) {
	if len(f.models) > 0 {
		tiles := draw.Tiles{
			Rows: len(quantities), Cols: len(f.models), PadX: padding, PadY: padding,
			PadTop: padding, PadBottom: padding, PadLeft: padding, PadRight: padding,
		}
		canvases := plot.Align(f.panels, tiles, draw.Crop(c, 0, -legendWidth, 0, 0))
		for i, row := range f.panels {
			for j, p := range row {
				p.Draw(canvases[i][j])
			}
		}
	}
	f.legend.Top, f.legend.Left, f.legend.Padding = true, true, padding/2
	f.legend.Draw(draw.Crop(c, f.width()-legendWidth, 0, 0, -3*padding))
}

func (f *figure) svg(w io.Writer) error {
	c := vgsvg.New(f.width(), f.height())
	f.draw(draw.New(c))
	_, err := c.WriteTo(w)
	return err
}
