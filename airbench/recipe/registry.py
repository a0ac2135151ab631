"""Registries of components: by name, a config class and the factory that builds the component from it.

Each kind of component (optimizers, nets, transforms, …) has one registry. Adding a component takes one call:

    OPTIMIZERS.add("lion", LionConfig, build_lion)

From then on, YAML, error messages and the JSON schema include it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from airbench.recipe.config import Config

T = TypeVar("T")


@dataclass(frozen=True)
class Component:
    """A config class and its factory.

    The factory may be given as ``"module:function"``, which is imported when first needed, so that loading a recipe
    does not import torch. None: the config is the component itself, as with schedules.
    """

    config: type[Config]
    factory: str | Callable[..., Any] | None = None

    def resolve(self) -> Callable[..., Any]:
        """Return the factory, importing it if necessary."""
        if self.factory is None:
            return lambda config: config
        if not isinstance(self.factory, str):
            return self.factory
        factory: Callable[..., Any] = _import(self.factory)
        return factory


class Registry(Mapping[str, Component]):
    """Components of one ``kind``. As an annotation it is the tagged union of their config classes.

    ``key`` is the setting that names the component in YAML; ``default`` is the component used if it is missing.
    """

    def __init__(self, kind: str, components: dict[str, Component], *, key: str = "name", default: str | None = None):
        self.kind, self.key, self.default = kind, key, default
        self._components = components

    def __getitem__(self, name: str) -> Component:
        return self._components[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._components)

    def __len__(self) -> int:
        return len(self._components)

    __eq__ = object.__eq__
    __hash__ = object.__hash__  # typing needs annotations to be hashable

    def add(self, name: str, config: type[Config], factory: str | Callable[..., Any] | None = None) -> None:
        """Add a component. ``config`` needs the field ``<key>: Literal["<name>"] = "<name>"``.

        Raises ValueError if the name is taken or the config class lacks that field.
        """
        field = config.model_fields.get(self.key)
        if name in self or field is None or field.default != name:
            raise ValueError(
                f'{self.kind} {name}: the name must be new, and the config class needs {self.key}: Literal["{name}"] = '
                f'"{name}"'
            )
        self._components[name] = Component(config, factory)
        _rebuild_schemas()

    def remove(self, name: str) -> None:
        """Remove a component."""
        del self._components[name]
        _rebuild_schemas()

    def build(self, config: Config, *arguments: Any) -> Any:
        """Build the component that ``config`` describes: call its factory with ``config`` and ``arguments``."""
        return self[getattr(config, self.key)].resolve()(config, *arguments)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {name: handler.generate_schema(component.config) for name, component in self.items()}
        return core_schema.tagged_union_schema(choices, discriminator=self._tag)

    def _tag(self, value: Any) -> str | None:
        tag = value.get(self.key, self.default) if isinstance(value, dict) else getattr(value, self.key, None)
        return None if tag is None else str(tag)


class Names(Mapping[str, T]):
    """Objects of one ``kind``, by name. As an annotation it is the literal type of the names.

    An object may be given as ``"module:name"``, which is imported when first looked up.
    """

    def __init__(self, kind: str, things: dict[str, str | T]):
        self.kind, self._things = kind, things

    def __getitem__(self, name: str) -> T:
        thing = self._things[name]
        return _import(thing) if isinstance(thing, str) else thing

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)

    def add(self, name: str, thing: T) -> None:
        """Add an object. Raises ValueError if the name is taken."""
        if name in self._things:
            raise ValueError(f"{self.kind} {name}: the name is taken")
        self._things[name] = thing
        _rebuild_schemas()

    def remove(self, name: str) -> None:
        """Remove an object."""
        del self._things[name]
        _rebuild_schemas()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.literal_schema(list(self._things))


def _import(path: str) -> Any:
    """Import ``"module:name"``."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def _rebuild_schemas() -> None:
    """Rebuild the schemas of all sections of a recipe, so that they include the components registered now."""
    configs = list(_subclasses(Config))
    # Delete all before rebuilding any: a section embeds the schemas of others that are already built.
    for config in configs:
        for attribute in ("__pydantic_core_schema__", "__pydantic_validator__", "__pydantic_serializer__"):
            if attribute in vars(config):
                delattr(config, attribute)
    for config in configs:
        config.model_rebuild(force=True)


def _subclasses(cls: type[Config]) -> Iterator[type[Config]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
