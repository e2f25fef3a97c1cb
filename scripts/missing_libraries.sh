# Run in the image: list missing shared libraries of installed programs and modules.
# libecpg is PostgreSQL's embedded SQL for C, which is not used.
for place in $(python -c 'import site; print(*site.getsitepackages())') /usr/local/lib /usr/lib/python3; do
    [ -d "$place" ] && find "$place" -type f \( -name '*.so' -o -name '*.so.*' -o -path '*/bin/*' \)
done | grep -v libecpg | sort -u | while read -r file; do
    ldd "$file" 2> /dev/null | grep 'not found' | sed "s#^#$file:#"
done
