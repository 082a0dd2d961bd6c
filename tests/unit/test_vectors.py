"""Vector files: what is read of every format and CRS, and what is written."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import fsspec
import geopandas
import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio.features
import rasterio.warp
import shapely
from rasterio.crs import CRS
from rasterio.transform import Affine
from shapely import Geometry, LineString, MultiLineString, MultiPolygon, Point, Polygon, box

from processor.errors import InputError, StorageError
from processor.model import Bounds, Cell
from processor.storage.options import Access
from processor.storage.store import Store
from processor.vector_files import list_parts
from processor.vectors import Feature, read_features, write_layers, write_seamlines

UTM = CRS.from_epsg(32633).to_wkt(version="WKT2_2019")
LEFT, BOTTOM = 500_000.0, 5_299_000.0
NEAR = Bounds(left=LEFT, bottom=BOTTOM, right=LEFT + 1000, top=BOTTOM + 1000)
SQUARE = box(LEFT + 100, BOTTOM + 100, LEFT + 400, BOTTOM + 300)
OTHER = box(LEFT + 600, BOTTOM + 500, LEFT + 900, BOTTOM + 900)
LINE = LineString([(LEFT, BOTTOM), (LEFT + 10, BOTTOM + 20)])
BOWTIE = Polygon([(LEFT, BOTTOM), (LEFT + 10, BOTTOM + 10), (LEFT + 10, BOTTOM), (LEFT, BOTTOM + 10)])

DRIVERS = {
    "a.gpkg": "GPKG",
    "a.geojson": "GeoJSON",
    "a.json": "GeoJSON",
    "a.geojsonl": "GeoJSONSeq",
    "a.shp": "ESRI Shapefile",
    "a.fgb": "FlatGeobuf",
}


def write(path: Path, geometries: list[Geometry | None], *, crs: Any = 32633, driver: str = "GPKG", **fields: list[Any]) -> str:
    columns = fields or {"id": list(range(len(geometries)))}
    options: dict[str, Any] = {} if driver != "ESRI Shapefile" else {"ENCODING": "UTF-8"}
    frame = geopandas.GeoDataFrame(columns, geometry=geometries, crs=crs)
    if driver in {"GeoJSON", "GeoJSONSeq"} and crs is not None:
        frame = frame.to_crs(4326)
    frame.to_file(path, driver=driver, **options)
    return str(path)


STORE = Store(access=Access(retries=0).allowing(["http://127.0.0.1:9"]))


def read(url: str, field: str | None = None, **options: Any) -> tuple[Feature, ...]:
    return read_features(url, crs=UTM, field=field, parameter="some.parameter", store=STORE, **{"near": NEAR, **options})


def assert_alike(found: Geometry, expected: Geometry, *, tolerance: float = 0.01) -> None:
    """Equal to within a centimetre, which is what formats with few digits keep."""
    assert found.is_valid
    assert found.symmetric_difference(expected).area < tolerance * expected.length


@pytest.mark.parametrize("name", DRIVERS)
def test_every_format_gives_its_polygons_and_names(tmp_path: Path, name: str) -> None:
    url = write(tmp_path / name, [SQUARE, OTHER], driver=DRIVERS[name], scene=["ngi_1", "ngi_é"])
    found = {feature.name: feature.geometry for feature in read(url, "scene")}
    assert sorted(filter(None, found)) == ["ngi_1", "ngi_é"]
    assert_alike(found["ngi_1"], SQUARE)
    assert_alike(found["ngi_é"], OTHER)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[str]:
    filesystem = fsspec.filesystem("memory")
    folder = f"/{tmp_path.name}"
    yield f"memory:/{folder}"
    filesystem.rm(folder, recursive=True) if filesystem.exists(folder) else None


@pytest.mark.parametrize("name", DRIVERS)
def test_every_format_is_read_from_object_stores_with_all_its_parts(tmp_path: Path, memory: str, name: str) -> None:
    write(tmp_path / name, [SQUARE], driver=DRIVERS[name], scene=["ngi_1"])
    for path in tmp_path.iterdir():
        Store().upload_file(path, f"{memory}/{path.name}")
    (feature,) = read(f"{memory}/{name}", "scene")
    assert feature.name == "ngi_1"
    assert_alike(feature.geometry, SQUARE)


def test_a_zipped_shapefile_is_read(tmp_path: Path, memory: str) -> None:
    write(tmp_path / "a.shp", [SQUARE], driver="ESRI Shapefile", scene=["ngi_1"])
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for path in sorted(tmp_path.glob("a.*")):
            archive.write(path, path.name)
    Store().upload_file(tmp_path / "b.zip", f"{memory}/b.zip")
    for url in (str(tmp_path / "b.zip"), f"{memory}/b.zip", f"file://{tmp_path}/b.zip"):
        assert read(url, "scene")[0].name == "ngi_1"


def test_parts_are_the_files_that_hold_the_rest(tmp_path: Path, memory: str) -> None:
    write(tmp_path / "a.shp", [SQUARE], driver="ESRI Shapefile")
    write(tmp_path / "b.gpkg", [SQUARE])
    (tmp_path / "a.dbf.bak").touch()
    assert list_parts(str(tmp_path / "b.gpkg"), Store()) == (str(tmp_path / "b.gpkg"),)
    parts = list_parts(str(tmp_path / "a.shp"), Store())
    assert [Path(part).suffix for part in parts] == [".shp", ".shx", ".dbf", ".prj", ".cpg"]
    for name in ("A.SHP", "A.DBF"):
        Store().write_bytes(f"{memory}/{name}", b"x")
    assert list_parts(f"{memory}/A.SHP", Store()) == (f"{memory}/A.SHP", f"{memory}/A.DBF")
    signed = f"{memory}/A.SHP?signature=1"
    assert list_parts(signed, Store()) == (signed,)


def test_only_the_first_layer_counts(tmp_path: Path) -> None:
    for layer, geometry in (("one", SQUARE), ("two", OTHER)):
        geopandas.GeoDataFrame(geometry=[geometry], crs=32633).to_file(tmp_path / "a.gpkg", layer=layer)
    (feature,) = read(str(tmp_path / "a.gpkg"))
    assert feature.geometry.equals(SQUARE)


def test_a_file_without_crs_is_taken_to_be_in_the_scenes(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="'crs' was not provided"):
        url = write(tmp_path / "a.gpkg", [SQUARE], crs=None)
    assert read(url)[0].geometry.equals(SQUARE)


@pytest.mark.parametrize("crs", [4326, 3857, 32632, 3035, 3031])
def test_edges_that_are_straight_in_the_files_crs_stay_so(tmp_path: Path, crs: int) -> None:
    """A centre counts if it lies in the polygon where the polygon was drawn, however the CRS bends its edges."""
    pixels, pixel = 300, 200.0  # transformed by its corners, an edge would be off by up to 70 m
    size = pixels * pixel
    near = Bounds(left=LEFT, bottom=BOTTOM, right=LEFT + size, top=BOTTOM + size)
    left, bottom, right, top = rasterio.warp.transform_bounds(32633, crs, *near.as_tuple())
    width, height = right - left, top - bottom
    drawn = Polygon(
        [
            (left + 0.1 * width, bottom + 0.2 * height),
            (left + 0.9 * width, bottom + 0.2 * height),
            (left + 0.8 * width, bottom + 0.9 * height),
            (left + 0.2 * width, bottom + 0.8 * height),
        ]
    )
    (feature,) = read(write(tmp_path / "a.gpkg", [drawn], crs=crs), near=near)
    x, y = np.meshgrid(LEFT + (np.arange(pixels) + 0.5) * pixel, BOTTOM + size - (np.arange(pixels) + 0.5) * pixel)
    there_x, there_y = rasterio.warp.transform(32633, crs, x.ravel(), y.ravel())
    expected = shapely.contains_xy(drawn, there_x, there_y).reshape(x.shape)
    assert 0.2 < expected.mean() < 0.8
    transform = Affine(pixel, 0, LEFT, 0, -pixel, BOTTOM + size)
    found = rasterio.features.rasterize([feature.geometry], out_shape=x.shape, transform=transform)
    assert np.count_nonzero(found.astype(bool) != expected) <= 1  # a centre within millimetres of an edge


def test_a_polygon_around_the_world_covers_the_scenes_in_a_projection_that_cannot_hold_it(tmp_path: Path) -> None:
    """Transformed as a whole it would end up as a line."""
    (feature,) = read(write(tmp_path / "a.gpkg", [box(-180, -90, 180, 90)], crs=4326))
    assert feature.geometry.covers(box(*NEAR.as_tuple()))
    assert feature.geometry.area < 50 * NEAR.width * NEAR.height


def test_what_is_far_away_in_another_crs_is_left_out_and_near_in_the_same_crs_kept(tmp_path: Path) -> None:
    far = shapely.affinity.translate(SQUARE, 5e5)
    url = write(tmp_path / "a.gpkg", [SQUARE, far], scene=["a", "b"])
    assert [feature.name for feature in read(url, "scene")] == ["a", "b"]
    frame = geopandas.GeoDataFrame({"scene": ["a", "b"]}, geometry=[SQUARE, far], crs=32633).to_crs(4326)
    frame.to_file(tmp_path / "b.gpkg")
    assert [feature.name for feature in read(str(tmp_path / "b.gpkg"), "scene")] == ["a"]
    wide = Bounds(left=LEFT, bottom=BOTTOM, right=LEFT + 6e5, top=BOTTOM + 1e5)
    assert [feature.name for feature in read(str(tmp_path / "b.gpkg"), "scene", near=wide)] == ["a", "b"]


def test_scenes_across_the_antimeridian_are_found_by_features_on_both_sides(tmp_path: Path) -> None:
    utm = CRS.from_epsg(32660).to_wkt()
    near = Bounds(left=700_000, bottom=0, right=900_000, top=100_000)  # 178.8 to 180.6 degrees east
    url = write(tmp_path / "a.gpkg", [box(179, 0.1, 180, 0.8), box(-180, 0.1, -179.5, 0.8)], crs=4326, scene=["west", "east"])
    west, east = read_features(url, crs=utm, field="scene", parameter="p", store=Store(), near=near)
    assert (west.name, east.name) == ("west", "east")
    assert east.geometry.bounds[0] == pytest.approx(west.geometry.bounds[2], abs=50)
    assert 100_000 < west.geometry.area / 77_400 < 115_000
    assert 50_000 < east.geometry.area / 77_400 < 60_000


def test_broken_polygons_are_mended_before_they_are_judged(tmp_path: Path) -> None:
    """A bow tie's halves cancel: its plain area is 0."""
    assert BOWTIE.area == 0
    (feature,) = read(write(tmp_path / "a.gpkg", [BOWTIE]))
    assert feature.geometry.is_valid
    assert feature.geometry.area == pytest.approx(50)


def test_points_lines_and_nothing_are_left_out(tmp_path: Path) -> None:
    geometries = [None, Point(LEFT, BOTTOM), SQUARE, SQUARE.exterior, Polygon()]
    url = write(tmp_path / "a.gpkg", geometries, scene=["a", "b", "c", "d", "e"])
    assert [feature.name for feature in read(url, "scene")] == ["c"]


def test_heights_are_left_out(tmp_path: Path) -> None:
    url = write(tmp_path / "a.gpkg", [shapely.force_3d(SQUARE, 7.0)])
    assert not read(url)[0].geometry.has_z


def test_values_of_the_field_are_text_and_missing_ones_name_nothing(tmp_path: Path) -> None:
    url = write(tmp_path / "a.gpkg", [SQUARE, OTHER], number=[7, 8], word=["x", None])
    assert [feature.name for feature in read(url, "number")] == ["7", "8"]
    assert [feature.name for feature in read(url, "word")] == ["x", None]
    assert [feature.name for feature in read(url)] == [None, None]


def test_a_field_that_is_missing_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    url = write(tmp_path / "a.gpkg", [SQUARE], image=["a"], cloud=[1])
    with pytest.raises(InputError, match=r"^some\.parameter: .*a\.gpkg has no field 'scene'; it has image, cloud$"):
        read(url, "scene")


@pytest.mark.parametrize("name", ["nothing.gpkg", "no/folder/a.shp", "nothing.geojson"])
def test_a_file_that_is_not_there_is_named_with_its_parameter(tmp_path: Path, memory: str, name: str) -> None:
    with pytest.raises(InputError, match=rf"^some\.parameter: .*{name} does not exist$"):
        read(str(tmp_path / name))
    with pytest.raises(InputError, match=name):
        read(f"{memory}/{name}")


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.shp", "a.zip", "a.xyz", "a"])
def test_a_file_that_is_no_vector_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"anything else")
    with pytest.raises(InputError, match=rf"^some\.parameter: .*{name} is not a readable vector file: "):
        read(str(tmp_path / name))


def test_a_table_without_geometries_is_refused(tmp_path: Path) -> None:
    pyogrio.write_dataframe(pd.DataFrame({"image": ["a"]}), tmp_path / "a.gpkg", driver="GPKG")
    with pytest.raises(InputError, match=r"a\.gpkg has no geometries"):
        read(str(tmp_path / "a.gpkg"))


@pytest.mark.parametrize(("name", "driver"), [("a.gml", "GML"), ("a.sqlite", "SQLite")])
def test_other_formats_are_refused_with_those_that_are_read(tmp_path: Path, name: str, driver: str) -> None:
    write(tmp_path / name, [SQUARE], driver=driver)
    with pytest.raises(InputError, match="is not a readable vector file: GeoPackage, GeoJSON"):
        read(str(tmp_path / name))


@pytest.mark.parametrize("name", ["a.geojson", "a.json", "a.gpkg", "a.shp", "a.fgb"])
def test_a_file_that_names_another_reads_nothing_of_it(tmp_path: Path, name: str) -> None:
    """OGR opens its virtual format whatever it is called."""
    secret = write(tmp_path / "secret.gpkg", [SQUARE], scene=["ngi_1"])
    text = (
        f'<OGRVRTDataSource><OGRVRTLayer name="secret"><SrcDataSource>{secret}</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>'
    )
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="it does not begin as"):
        read(str(tmp_path / name))


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (
            "CREATE VIEW endless AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r",
            "view 'endless'",
        ),
        ("CREATE VIRTUAL TABLE odd USING fts5(a)", "virtual table 'odd'"),
    ],
)
def test_views_and_virtual_tables_of_a_database_are_not_run(tmp_path: Path, statement: str, words: str) -> None:
    url = write(tmp_path / "a.gpkg", [SQUARE], scene=["ngi_1"])
    with closing(sqlite3.connect(url)) as database:
        database.execute(statement)
        database.commit()
    with pytest.raises(InputError, match=words):
        read(url)


@pytest.mark.parametrize(
    "statement",
    [
        'CREATE VIRTUAL TABLE "a using rtree" USING fts5(a)',
        'CREATE VIRTUAL TABLE odd USING fts5(" using rtree(")',
        "CREATE VIRTUAL TABLE odd USING fts5(a, 'b using rtree(')",
        "CREATE VIRTUAL TABLE odd USING rtree_i32(id, a, b)",
    ],
)
def test_a_virtual_table_is_an_index_by_its_module_not_by_its_name(tmp_path: Path, statement: str) -> None:
    url = write(tmp_path / "a.gpkg", [SQUARE])
    with closing(sqlite3.connect(url)) as database:
        database.execute(statement)
        database.commit()
    with pytest.raises(InputError, match="it has the virtual table"):
        read(url)


ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n AS fid, zeroblob(8) AS geom FROM r"


def change(url: str, *statements: str) -> str:
    with closing(sqlite3.connect(url)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()
    return url


def test_a_layer_is_no_view_whatever_it_is_called(tmp_path: Path) -> None:
    """The standard has views of these names, which are no layers."""
    url = write(tmp_path / "a.gpkg", [SQUARE])
    change(url, f"CREATE VIEW st_geometry_columns AS {ENDLESS}")
    assert len(read(url)) == 1
    change(url, "UPDATE gpkg_contents SET table_name = 'ST_geometry_columns'")
    with pytest.raises(InputError, match="its layer 'ST_geometry_columns' is a view"):
        read(url)


def test_tables_that_ogr_looks_for_are_no_views(tmp_path: Path) -> None:
    url = write(tmp_path / "a.gpkg", [SQUARE])
    change(url, "ALTER TABLE gpkg_contents RENAME TO other", "CREATE VIEW gpkg_contents AS SELECT * FROM other")
    with pytest.raises(InputError, match="it has the view 'gpkg_contents'"):
        read(url)


def test_columns_that_are_computed_are_not(tmp_path: Path) -> None:
    url = write(tmp_path / "a.gpkg", [SQUARE])
    change(url, "ALTER TABLE a ADD COLUMN large AS (hex(zeroblob(100000000)))")
    with pytest.raises(InputError, match="the table 'a' has columns that are computed"):
        read(url)


def test_triggers_are_not_run(tmp_path: Path) -> None:
    url = write(tmp_path / "a.gpkg", [SQUARE])
    before = hashlib.sha256(Path(change(url, "CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM a; END")).read_bytes())
    assert len(read(url)) == 1
    assert hashlib.sha256(Path(url).read_bytes()).digest() == before.digest()


def test_reading_a_database_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = write(tmp_path / "a.gpkg", [SQUARE] * 5000)
    monkeypatch.setattr("processor.vector_files._MAX_SECONDS", 0.0)
    with pytest.raises(InputError, match="reading it takes more than 0 seconds"):
        read(url)


def test_changes_that_lie_beside_a_database_are_neither_read_nor_passed_over(tmp_path: Path) -> None:
    """They would be read by OGR after the file itself was checked."""
    url = write(tmp_path / "a.gpkg", [SQUARE])
    (tmp_path / "a.gpkg-wal").touch()
    assert len(read(url)) == 1
    (tmp_path / "a.gpkg-wal").write_bytes(b"x")
    with pytest.raises(InputError, match=r"a\.gpkg-wal beside it holds changes"):
        read(url)


CODES = ("EPSG:4326", "urn:ogc:def:crs:OGC:1.3:CRS84", "http://www.opengis.net/def/crs/OGC/1.3/CRS84")


def make_geojson(members: str = "", *, geometry: str = "") -> str:
    ring = '"type": "Polygon", "coordinates": [[[14, 47], [16, 47], [16, 49], [14, 49], [14, 47]]]'
    feature = f'{{"type": "Feature", "properties": {{"crs": "x", "b": ["crs", "crs"]}}, "geometry": {{{geometry}{ring}}}}}'
    return f'{{"type": "FeatureCollection", {members}"features": [{feature}]}}'


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """URL of a server, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", asked
        server.shutdown()


@pytest.mark.parametrize("name", ["a.geojson", "a.json", "a.geojsonl"])
@pytest.mark.parametrize(
    "crs",
    [
        '"crs": {"type": "link", "properties": {"href": "URL"}}, ',
        '"crs": {"type": "url", "properties": {"url": "URL"}}, ',
        '"CRS" : {"TYPE": "LINK", "properties": {"href": "URL"}}, ',
        r'"\u0063r\u0073": {"type": "link", "properties": {"href": "URL"}}, ',
        r'"crs\u0000x": {"type": "link", "properties": {"href": "URL"}}, ',
        '"crs": {"type": "name", "type": "link", "properties": {"href": "URL", "name": "EPSG:4326"}}, ',
        '"crs": {"type": "name", "properties": {"name": "URL"}}, ',
        '"crs": [{"type": "link", "properties": {"href": "URL"}}], "crs": {"type": "link", "properties": {"href": "URL"}}, ',
    ],
)
@pytest.mark.parametrize("place", ["members", "geometry"])
def test_a_crs_that_leads_elsewhere_is_not_followed(
    tmp_path: Path, listener: tuple[str, list[str]], name: str, crs: str, place: str
) -> None:
    url, asked = listener
    (tmp_path / name).write_text(make_geojson(**{place: crs.replace("URL", url)}))
    with pytest.raises(InputError, match='its "crs" is no name such as EPSG:32632'):
        read(str(tmp_path / name))
    assert asked == []


@pytest.mark.parametrize("code", CODES)
def test_a_crs_that_is_named_is_taken(tmp_path: Path, code: str) -> None:
    (tmp_path / "a.geojson").write_text(make_geojson(f'"crs": {{"type": "name", "properties": {{"name": "{code}"}}}}, '))
    assert len(read(str(tmp_path / "a.geojson"))) == 1


@pytest.mark.parametrize("name", ["a.json", "a.geojson", "a.geojsonl"])
def test_a_pipeline_of_commands_is_no_geojson(tmp_path: Path, name: str) -> None:
    """OGR runs it, and it reads whatever it names."""
    secret = write(tmp_path / "secret.gpkg", [SQUARE])
    command = f"gdal vector convert {secret} --output-format=stream streamed_dataset"
    (tmp_path / name).write_text(json.dumps({"type": "gdal_streamed_alg", "command_line": command}))
    with pytest.raises(InputError, match="is not a readable vector file"):
        read(str(tmp_path / name))


def test_features_of_one_line_each_are_read_whatever_they_are_called(tmp_path: Path) -> None:
    write(tmp_path / "a.geojsonl", [SQUARE] * 20_000, driver="GeoJSONSeq")
    (tmp_path / "a.geojsonl").rename(tmp_path / "a.json")
    assert (tmp_path / "a.json").stat().st_size > 1 << 20  # more than OGR looks at to know a file
    assert len(read(str(tmp_path / "a.json"))) == 20_000


def test_a_virtual_file_in_an_archive_reads_nothing(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.gpkg", [SQUARE], scene=["ngi_1"])
    text = f'<OGRVRTDataSource><OGRVRTLayer name="s"><SrcDataSource>{secret}</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>'
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.shp", text)
    with pytest.raises(InputError, match=r"it does not begin as \.shp does"):
        read(str(tmp_path / "a.zip"))
    (tmp_path / "a.fgb").write_bytes(b"fgb\3fgb\1" + text.encode())
    with pytest.raises(InputError, match="its header is too long"):
        read(str(tmp_path / "a.fgb"))


def test_a_shapefile_in_a_folder_of_an_archive_is_read(tmp_path: Path) -> None:
    write(tmp_path / "a.shp", [SQUARE], driver="ESRI Shapefile", scene=["ngi_1"])
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for path in sorted(tmp_path.glob("a.*")):
            archive.write(path, f"folder/{path.name.upper()}")
    assert read(str(tmp_path / "b.zip"), "scene")[0].name == "ngi_1"


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.shp", bytes(10_000_000))
    monkeypatch.setattr("processor.vector_files._MAX_BYTES", 1_000_000)
    with pytest.raises(InputError, match="it unpacks to more than 1000000 bytes"):
        read(str(tmp_path / "a.zip"))


@pytest.mark.parametrize("suffix", [".shx", ".dbf", ".prj", ".cpg", ".DBF"])
def test_companions_are_regular_files(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / "a.shp", [SQUARE], driver="ESRI Shapefile")
    (tmp_path / f"a{suffix.lower()}").unlink()
    os.mkfifo(tmp_path / f"a{suffix}")
    with pytest.raises(InputError, match=rf"a\{suffix} is no regular file"):
        read(str(tmp_path / "a.shp"))


def test_other_files_beside_a_shapefile_are_not_looked_at(tmp_path: Path) -> None:
    write(tmp_path / "a.shp", [SQUARE], driver="ESRI Shapefile")
    for suffix in (".qix", ".sbn", ".shp.xml", ".idm"):
        os.mkfifo(tmp_path / f"a{suffix}")
    assert len(read(str(tmp_path / "a.shp"))) == 1


def test_an_index_names_no_record_twice(tmp_path: Path) -> None:
    write(tmp_path / "a.shp", [SQUARE], driver="ESRI Shapefile")
    with (tmp_path / "a.shx").open("ab") as stream:
        stream.write((tmp_path / "a.shx").read_bytes()[100:108] * 1000)
    with pytest.raises(InputError, match=r"its \.shx names more than its \.shp holds"):
        read(str(tmp_path / "a.shp"))


def test_geoparquet_is_read_if_its_crs_is_no_name_of_a_file(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    geopandas.GeoDataFrame({"scene": ["a"]}, geometry=[SQUARE], crs=32633).to_parquet(tmp_path / "a.parquet")
    assert read(str(tmp_path / "a.parquet"), "scene")[0].name == "a"
    table = parquet.read_table(tmp_path / "a.parquet")
    geo = json.loads(table.schema.metadata[b"geo"])
    geo["columns"]["geometry"]["crs"] = "+init=/etc/hosts:1"
    parquet.write_table(table.replace_schema_metadata({b"geo": json.dumps(geo)}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match="is no authority code"):
        read(str(tmp_path / "b.parquet"))


def test_feather_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.feather").write_bytes(b"ARROW1\0\0")
    with pytest.raises(InputError, match="is not a readable vector file: GeoPackage, GeoJSON"):
        read(str(tmp_path / "a.feather"))


def test_pipes_folders_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.geojson")
    (tmp_path / "b.gpkg").mkdir()
    (tmp_path / "c.fgb").symlink_to("/dev/zero")
    for name in ("a.geojson", "b.gpkg", "c.fgb"):
        with pytest.raises(InputError, match="is not a readable vector file"):
            read(str(tmp_path / name))


def test_an_archive_holds_a_shapefile_and_nothing_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.vrt", "<OGRVRTDataSource/>")
    with pytest.raises(InputError, match=r"'a\.vrt' is no part of a shapefile"):
        read(str(tmp_path / "a.zip"))


def test_too_many_features_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = write(tmp_path / "a.gpkg", [SQUARE, OTHER, SQUARE])
    monkeypatch.setattr("processor.vectors.MOST_FEATURES", 2)
    with pytest.raises(InputError, match="has more than 2 features"):
        read(url)


def test_a_file_without_polygons_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^some\.parameter: .*a\.gpkg has no polygon$"):
        read(write(tmp_path / "a.gpkg", [Point(LEFT, BOTTOM)]))


def test_storage_that_fails_is_no_bad_input() -> None:
    with pytest.raises(StorageError):
        read("http://127.0.0.1:9/a.gpkg")


# What is written

CELLS = (
    Cell(scene="a", polygon=SQUARE),
    Cell(scene="b", polygon=Polygon()),
    Cell(scene="c", polygon=MultiPolygon([OTHER, box(LEFT, BOTTOM, LEFT + 1, BOTTOM + 1)])),
)


def test_seamlines_are_one_layer_with_a_feature_a_scene_that_owns_something(tmp_path: Path) -> None:
    write_seamlines(tmp_path / "a.gpkg", CELLS, crs=UTM, field="picture")
    assert pyogrio.list_layers(tmp_path / "a.gpkg").tolist() == [["seamlines", "MultiPolygon"]]
    frame = geopandas.read_file(tmp_path / "a.gpkg")
    assert frame.crs.to_epsg() == 32633
    assert frame["picture"].tolist() == ["a", "c"]
    assert frame.geometry.iloc[0].equals(SQUARE)
    assert frame.geometry.iloc[1].equals(CELLS[2].polygon)


def test_seamlines_that_were_written_are_read(tmp_path: Path) -> None:
    write_seamlines(tmp_path / "a.gpkg", CELLS, crs=UTM, field="picture")
    first, second = read(str(tmp_path / "a.gpkg"), "picture")
    assert (first.name, second.name) == ("a", "c")
    assert first.geometry.equals(SQUARE)
    assert second.geometry.equals(CELLS[2].polygon)


def test_the_same_cells_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.gpkg", "b.gpkg"):
        write_seamlines(tmp_path / name, CELLS, crs=UTM, field="image")
    digests = {hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("a.gpkg", "b.gpkg")}
    assert len(digests) == 1


def test_layers_are_written_one_after_the_other_and_empty_ones_left_out(tmp_path: Path) -> None:
    layers = {
        "cells": [Feature(geometry=SQUARE, name="a")],
        "nothing": [],
        "lines": [Feature(geometry=LINE, name="a | b"), Feature(geometry=MultiLineString([LINE]), name="b | c")],
    }
    write_layers(tmp_path / "a.gpkg", layers, crs=UTM, field="image")
    assert [layer[0] for layer in pyogrio.list_layers(tmp_path / "a.gpkg")] == ["cells", "lines"]
    assert geopandas.read_file(tmp_path / "a.gpkg", layer="lines")["image"].tolist() == ["a | b", "b | c"]


def test_a_crs_without_code_is_kept(tmp_path: Path) -> None:
    text = "+proj=tmerc +lat_0=0 +lon_0=14.3 +k=0.9996 +x_0=500000 +y_0=0 +ellps=GRS80 +units=m +no_defs"
    wkt = CRS.from_proj4(text).to_wkt(version="WKT2_2019")
    write_seamlines(tmp_path / "a.gpkg", CELLS, crs=wkt, field="image")
    assert geopandas.read_file(tmp_path / "a.gpkg").crs.equals(wkt)


def test_cells_of_which_none_is_owned_are_an_empty_layer(tmp_path: Path) -> None:
    write_seamlines(tmp_path / "a.gpkg", [Cell(scene="b", polygon=Polygon())], crs=UTM, field="picture")
    assert pyogrio.list_layers(tmp_path / "a.gpkg").tolist() == [["seamlines", "MultiPolygon"]]
    frame = geopandas.read_file(tmp_path / "a.gpkg")
    assert len(frame) == 0
    assert "picture" in frame.columns


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # OGR tells what of such a file it passes over
@pytest.mark.parametrize("last", ["[0, 1]", "[NaN, 0], [0, 0]", "[Infinity, 0], [0, 0]", "[1.8e308, -1.8e308], [0, 0]"])
def test_a_ring_that_is_none_is_refused(tmp_path: Path, last: str) -> None:
    ring = f'{{"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], {last}]]}}'
    feature = f'{{"type": "Feature", "properties": {{}}, "geometry": {ring}}}'
    (tmp_path / "a.geojson").write_text(f'{{"type": "FeatureCollection", "features": [{feature}]}}')
    with pytest.raises(InputError, match=r"some\.parameter"):
        read(str(tmp_path / "a.geojson"))
