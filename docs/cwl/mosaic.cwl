#!/usr/bin/env cwl-runner
# An OGC Application Package (OGC 20-089r1): folders with a catalog.json in, a folder with a catalog.json out.
# docs/stac.md says how it is run. Where the platform has the image under another name, change dockerPull.
cwlVersion: v1.2
$namespaces:
  s: https://schema.org/
s:softwareVersion: 0.1.0
$graph:
  - class: Workflow
    id: mosaic
    label: Seamless, radiometrically matched mosaic
    doc: Overlapping scenes become one Cloud-Optimized GeoTIFF, with a STAC Item and a quality report beside it.
    inputs:
      scenes:
        type: Directory[]
        label: Scenes
        doc: Folders that hold a catalog.json, which leads to the scenes' Items; their assets lie beside them.
      item_id:
        type: string
        default: mosaic
        label: Id of the mosaic
        doc: Letters, digits, '.', '_' and '-'.
      assets:
        type: string?
        label: Assets
        doc: Keys of the assets whose bands are stacked, such as red,green,blue; needed where Items have several rasters.
      bands:
        type: string?
        label: Bands
        doc: Bands to read by name or common name, in this order, such as nir,red,green.
      mask:
        type: string?
        label: Mask
        doc: "Asset that marks invalid pixels, such as {asset: SCL, invalid: [0, 1, 3, 8, 9, 10]}."
      crs:
        type: string?
        label: CRS of the mosaic
        doc: An authority's code such as EPSG:32632; else that of most scenes.
    outputs:
      mosaic:
        type: Directory
        outputSource: make/folder
    steps:
      make:
        run: "#mosaic-processor"
        in:
          scenes: scenes
          item_id: item_id
          assets: assets
          bands: bands
          mask: mask
          crs: crs
        out: [folder]
  - class: CommandLineTool
    id: mosaic-processor
    hints: # not requirements, so that a machine with the command installed needs no container
      DockerRequirement:
        dockerPull: mosaic-processor:0.1.0
    requirements:
      ResourceRequirement:
        coresMin: 2
        ramMin: 4096
    baseCommand: [mosaic-processor, run]
    arguments:
      - prefix: --output
        valueFrom: .
      - --output.catalog
    inputs:
      scenes:
        type: Directory[]
        inputBinding:
          position: 1
      item_id:
        type: string
        inputBinding:
          prefix: --item-id
      assets:
        type: string?
        inputBinding:
          prefix: --inputs.assets
      bands:
        type: string?
        inputBinding:
          prefix: --inputs.bands
      mask:
        type: string?
        inputBinding:
          prefix: --inputs.mask
      crs:
        type: string?
        inputBinding:
          prefix: --align_rasters.crs
    outputs:
      folder:
        type: Directory
        outputBinding:
          glob: .
