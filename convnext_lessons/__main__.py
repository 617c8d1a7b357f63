from convnext_lessons.cli import main

if __name__ == "__main__":
    main()
