"""Which rule draws a scene class, at which ground sampling distances, and which kinds of thing its scenes may have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from terrasynth.prompts.layouts.rules import airports, country, harbors, sports, towns, traffic, works
from terrasynth.prompts.layouts.rules.site import Site
from terrasynth.prompts.layouts.rules.towns import Suburb

NEAR, MIDDLE, FAR = (0.3, 0.4, 0.5), (0.5, 0.6, 0.8), (1.0, 1.5, 2.0)


@dataclass(frozen=True)
class Family:
    """How scenes of a class are drawn.

    Attributes:
        rule: Puts things on a site.
        gsd: Meters a pixel that an image may have where the recipe says nothing; all equally likely.
        kinds: Kinds of thing that its scenes may have, and of which it may be said that there is none.
        needs: Kinds of which every scene shows one or more; one of them suffices.
        named: The class's name says an area, not the things in it.
    """

    rule: Callable[[Site], None]
    gsd: tuple[float, ...]
    kinds: tuple[str, ...]
    needs: tuple[str, ...] = ()
    named: bool = True


_STREET = ("car", "truck", "bus", "tree")
_HOMES = ("house", *_STREET, "pool")
_CITY = ("building", *_STREET)
_SPORTS = (*_STREET, "tennis_court", "basketball_court", "soccer_field", "baseball_diamond")

FAMILIES: dict[str, Family] = {
    "denseresidential": Family(towns.suburb(Suburb(lot=(11, 15), depth=(44, 58), setback=(3.2, 5.5), trees=2.2,
                                                   pools=0.05, bends=0.06)), NEAR, _HOMES, needs=("house",)),
    "mediumresidential": Family(towns.suburb(Suburb()), NEAR, _HOMES, needs=("house",)),
    "sparseresidential": Family(towns.suburb(Suburb(lot=(30, 46), depth=(90, 130), setback=(9, 18), trees=9.0,
                                                    pools=0.25, empty=0.2, bends=0.2)), NEAR, _HOMES, needs=("house",)),
    "residential": Family(towns.suburb(Suburb(lot=(14, 22))), FAR[:1], _HOMES, needs=("house",)),
    "mobilehomepark": Family(towns.mobile_homes, NEAR, ("mobile_home", *_STREET), needs=("mobile_home",)),
    "buildings": Family(towns.city, MIDDLE, _CITY, needs=("building",), named=False),
    "commercial": Family(towns.city, MIDDLE, _CITY, needs=("building",)),
    "industrial": Family(towns.works, MIDDLE + FAR[:1], (*_CITY, "tank"), needs=("building",)),
    "parkinglot": Family(works.parking, NEAR[:2], ("building", *_STREET), needs=("car",)),
    "storagetanks": Family(works.tanks, MIDDLE, ("tank", "building", *_STREET),
                           needs=("tank",), named=False),
    "railway": Family(works.railway, MIDDLE, ("train_car", *_HOMES)),
    "freeway": Family(traffic.freeway, NEAR + MIDDLE[:1], ("house", *_STREET)),
    "overpass": Family(traffic.overpass, NEAR + MIDDLE[:1], _STREET),
    "intersection": Family(traffic.intersection, NEAR, _CITY),
    "roundabout": Family(traffic.roundabout, NEAR, _CITY),
    "bridge": Family(traffic.bridge, NEAR + MIDDLE[:1], ("boat", *_STREET)),
    "airplane": Family(airports.stands, MIDDLE + FAR[:1], ("airplane", "building", "car"),
                       needs=("airplane",), named=False),
    "airport": Family(airports.airport, FAR, ("airplane", "building", *_STREET)),
    "runway": Family(airports.runway, MIDDLE + FAR, ("airplane", "tree")),
    "harbor": Family(harbors.harbor, NEAR + MIDDLE[:2], ("boat", "ship", "building", "container", *_STREET),
                     needs=("boat", "ship")),
    "ship": Family(harbors.at_sea, FAR, ("ship", "boat"), needs=("ship",), named=False),
    "tenniscourt": Family(sports.tennis, NEAR, (*_SPORTS, "house"), needs=("tennis_court",), named=False),
    "basketballcourt": Family(sports.basketball, NEAR, (*_SPORTS, "house"), needs=("basketball_court",), named=False),
    "baseballdiamond": Family(sports.baseball, MIDDLE + FAR[:1], _SPORTS, needs=("baseball_diamond",), named=False),
    "groundtrackfield": Family(sports.track_field, (0.8, 1.0), (*_SPORTS, "building"), needs=("soccer_field",)),
    "playground": Family(sports.soccer, MIDDLE, _SPORTS, needs=("soccer_field",)),
    "agricultural": Family(country.fields, MIDDLE + FAR, ("building", *_STREET)),
    "rectangularfarmland": Family(country.fields, MIDDLE + FAR, ("building", *_STREET)),
    "circularfarmland": Family(country.pivots, FAR, ()),
    "permanentcrop": Family(country.orchard, MIDDLE, ("tree", "car", "building"), needs=("tree",)),
    "river": Family(country.river, MIDDLE + FAR[:1], ("boat", "building", *_STREET)),
    "lake": Family(country.lake, MIDDLE + FAR[:1], ("house", "boat", *_STREET)),
    "pond": Family(country.lake, NEAR + MIDDLE[:1], ("house", "boat", *_STREET)),
    "island": Family(country.island, MIDDLE + FAR[:1], ("boat", "ship")),
    "beach": Family(country.beach, NEAR + MIDDLE[:1], ("boat", *_STREET)),
    "forest": Family(country.wood, MIDDLE + FAR, ("building", *_STREET[:3])),
    "meadow": Family(country.meadow, NEAR + MIDDLE[:1], ("tree", "building", "car")),
    "park": Family(country.park, NEAR + MIDDLE[:1], ("building", *_STREET)),
}
"""By label, as the built-in ontologies have it. Classes without one are those of a texture (chaparral, desert, bare
land, mountains, clouds, ice, wetland, pasture, terraces), and those of one building that has no usual shape (church,
stadium, palace, event center, railway station, school, resort, power station) or no usual plan (city square, golf
course)."""
